"""Calibrated rounding of a file: what it needs, and whether it was worth it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._device import chosen_device, device_name
from ..calibrating.calibration import Calibration
from ..calibrating.roundings import calibrated_roundings
from ..calibrating.sample import Sample
from ..display import Displayed
from ..evaluate.entries import Entry, Wanted
from ..evaluate.known import Known, NamedText
from ..evaluate.run import ComparisonRun
from ..execution.workers import Workers
from ..files.target import real_path
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.computing import EXACT, Computing, computing_of
from ..progress import Notify, Progress
from ..quantizing.rounding import NearestRoundings, Roundings
from ..recipes import Assignment, Recipe
from ..recipes.overrides import Overrides
from ..sources.opening import open_runnable
from ..tokens.chunks import Chunks

__all__ = [
    "CalibrationCheck",
    "calibrating_on",
    "check_calibration",
    "device_for_rounding",
    "roundings_of",
    "work_folder",
]

ERRORS = 2
"""Standard errors that a difference of perplexities is at least, to be one."""

ENOUGH_CHUNKS = 8
"""Chunks with which a check says something."""


def work_folder(target: Path) -> Path:
    """Where the calibration of an output keeps what it has done."""
    real = real_path(target)
    return real.with_name(f".{real.name}.calibration")


def device_for_rounding(device: str, calibration: Calibration | None) -> int | None:
    """The number of the CUDA device that is asked for; None: the CPU.

    Raises:
        BackendError: the device cannot be used, or not for a model if there is a
            calibration.
    """
    number = chosen_device(device)
    if calibration is not None:
        calibrating_on(number)
    return number


def calibrating_on(device: int | None) -> Computing:
    """Where a calibration runs its model.

    Args:
        device: the number of the CUDA device; None: the CPU.

    Raises:
        BackendError: the device cannot run a model.
    """
    return EXACT if device is None else computing_of("f32", device_name(device))


@contextmanager
def roundings_of(
    source: ModelSource,
    assigned: Mapping[str, Assignment],
    importance: Importance | None,
    calibration: Calibration | None,
    sample: Sample | None,
    target: Path | None,
    *,
    device: int | None = None,
    threads: int | Workers | None,
    progress: Progress | None,
    notify: Notify | None,
) -> Iterator[Roundings]:
    """How the tensors are rounded: plainly, or by a calibration that is run first.

    Args:
        source: the model.
        assigned: the types of its tensors.
        importance: by tensor name.
        calibration: the calibration, or None.
        sample: its tokens.
        target: the output, beside which the work is kept; None: it is temporary.
        device: the number of the CUDA device for plain rounding, or for the model that
            a calibration runs; None: the CPU.
        threads, progress, notify: see `calibrate`.
    """
    if calibration is None:
        yield NearestRoundings(importance or {}, device)
        return
    types = {name: each.type for name, each in assigned.items()}
    is_kept = target is not None and bool(getattr(source, "paths", ()))
    with calibrated_roundings(
        *(source, types, calibration),
        sample=sample,
        importance=importance,
        work=work_folder(target) if target is not None and is_kept else None,
        threads=threads,
        progress=progress,
        notify=notify,
        computing=calibrating_on(device),
    ) as calibrated:
        yield calibrated


@dataclass(frozen=True)
class CalibrationCheck(Displayed):
    """A calibrated file and a plain one, on text that calibration did not sum.

    Attributes:
        chunks: the number of chunks.
        ppl_base, ppl_plain, ppl_calibrated: perplexities of the unquantized model, of
            plain rounding with the importance of the same text, and of the file.
        kld_plain, kld_calibrated: mean KL divergences from the unquantized model, in
            nats per token.
        kld_difference, kld_difference_error: calibrated minus plain, paired, and its
            standard error over chunks.
        ln_ppl_ratio, ln_ppl_ratio_error: the log of the calibrated file's perplexity
            relative to plain rounding's, and its standard error.
    """

    chunks: int
    ppl_base: float
    ppl_plain: float
    ppl_calibrated: float
    kld_plain: float
    kld_calibrated: float
    kld_difference: float
    kld_difference_error: float
    ln_ppl_ratio: float
    ln_ppl_ratio_error: float

    @property
    def is_worse(self) -> bool:
        """Whether the calibrated file is further from the unquantized model."""
        return not self.kld_difference <= 0

    @property
    def is_ppl_worse(self) -> bool:
        """Whether the perplexity is higher than plain rounding's by two errors."""
        return self.ln_ppl_ratio > ERRORS * self.ln_ppl_ratio_error

    @property
    def gain(self) -> float:
        """The relative change of the KL divergence; negative is better."""
        return self.kld_difference / self.kld_plain if self.kld_plain else math.nan

    def to_dict(self) -> dict[str, Any]:
        """The check as a dict for JSON."""
        worse = {"is_worse": self.is_worse, "is_ppl_worse": self.is_ppl_worse}
        return {**asdict(self), **worse}


def check_calibration(
    source: ModelSource,
    made: Path,
    recipe: Recipe,
    overrides: Overrides,
    sample: Sample,
    importance: Importance,
    *,
    threads: int | Workers | None,
    progress: Progress | None,
    notify: Notify | None,
) -> CalibrationCheck:
    """Compare a calibrated file with plain rounding, on the held-out text.

    Args:
        source: the unquantized model.
        made: the calibrated file, or the first of several.
        recipe: of the file.
        overrides: the type of each tensor, which plain rounding uses, too.
        sample: the tokens of the calibration.
        importance: what plain rounding uses.
        threads: chunks evaluated at a time.
        progress: called after each chunk.
        notify: told if there are few chunks.
    """
    held_out = Chunks(sample.chunks[sample.is_held_out], None)
    if notify is not None and len(held_out) < ENOUGH_CHUNKS:
        notify(
            f"chunks of held-out text for the check: {len(held_out)}; with fewer than "
            f"{ENOUGH_CHUNKS} it says little: use more text"
        )
    plain = Wanted("plain", recipe, overrides)
    entries = [
        Entry("base", source),
        Entry("plain", source, plain, importance),
        Entry("calibrated", open_runnable(made)),
    ]
    known = Known("the model", entries, [NamedText("held-out text", held_out)])
    result = ComparisonRun(known, threads).run(progress)
    by_name = {row.name: row for row in result.rows}
    difference = result.versus("calibrated", "plain")
    return CalibrationCheck(
        len(held_out),
        by_name["base"].ppl,
        by_name["plain"].ppl,
        by_name["calibrated"].ppl,
        by_name["plain"].kld_mean,
        by_name["calibrated"].kld_mean,
        difference.kld_difference,
        difference.kld_difference_error,
        difference.ln_ppl_ratio,
        difference.ln_ppl_ratio_error,
    )
