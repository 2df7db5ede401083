"""Calibrate the rounding of a model's matrices on a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .._version import __version__
from ..execution.workers import (
    Workers,
    in_this_process,
    kept_open,
    whole_workers,
    workers_of,
)
from ..files.identity import hash_pieces
from ..gguf.importance import Importance, importance_pieces
from ..gguf.source import ModelSource, identity_of, unchanged
from ..inference.computing import EXACT, Computing
from ..inference.damage import damage_named
from ..parameters import check_callbacks
from ..progress import Notify, Progress
from ..sources.checking import check_source
from ..tokens.texts import as_texts
from ..types import QuantType
from .calibrated import Calibrated, keeping
from .calibration import Calibration
from .gain import Gain
from .mixture import mixture_texts
from .model_pass import ModelPass
from .narrowness import breadth_of_sample
from .notices import about_gains, short_text
from .sample import Sample, sample_of
from .store import Store

__all__ = [
    "Calibrated",
    "Gain",
    "awaited_importance",
    "calibrate",
    "calibrate_on",
    "calibration_identity",
    "sample_for",
]

EFFORTS = {"fast": 1, "best": 2}
"""The number of streams by effort."""


def calibrate(
    source: ModelSource,
    types: Mapping[str, QuantType],
    calibration: Calibration,
    *,
    sample: Sample | None = None,
    importance: Importance | None = None,
    work: Path | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
    computing: Computing = EXACT,
) -> Calibrated:
    """Solve the matrices of a model on a calibration text, one layer after the other.

    Args:
        source: the unquantized model.
        types: the type of each tensor of the file that is made.
        calibration: the text, and how thorough to be.
        sample: the tokens of the text, if it is already read: see `sample_for`.
        importance: by tensor name; for tensors that are not calibrated, and for the
            plain rounding that calibration is compared with.  Others have that of the
            calibration text.
        work: a folder for the solved rows, from which an interrupted run goes on; None:
            a temporary one.
        threads: pieces of work at a time, in threads of this process or in a cluster;
            the bytes do not depend on it.
        progress: called with the stage, the finished layers and their total.
        notify: called with what the user should know, such as a text that is too short
            for wide matrices.
        computing: where the model runs, in f32 whatever its `activations`, inputs are
            summed and rows are solved.

    Raises:
        FormatError: a file of the source changed.
        NonFiniteError: an activation or a weight is NaN or infinite.
        OutputError: `work` cannot be written, or another process uses it.
        QuantkitError: the text is too short, or quantkit cannot run the model.
    """
    check_callbacks(progress=progress, notify=notify)
    check_source(source)
    if sample is None:
        sample = sample_for(source, calibration)
    if notify is not None and calibration.texts:
        _say_narrow(source, sample, calibration, threads, notify)
    return calibrate_on(
        *(source, types, sample),
        effort=calibration.effort,
        importance=importance,
        work=work,
        threads=threads,
        progress=progress,
        notify=notify,
        computing=computing,
    )


def sample_for(source: ModelSource, calibration: Calibration) -> Sample:
    """The tokens of a calibration, as the model reads them.

    Raises:
        QuantkitError: the text is too short.
    """
    texts = as_texts(calibration.texts or mixture_texts())
    return sample_of(source, texts, calibration.tokens, calibration.options)


def calibration_identity(
    source: ModelSource, calibration: Calibration, computing: Computing = EXACT
) -> str:
    """A hash of what determines the solved rows, beside the model and the types."""
    sample = sample_for(source, calibration)
    how = f"{__version__} {computing.place} {calibration.effort}"
    pieces = how.encode(), sample.chunks.tobytes(), sample.alone.tobytes()
    return hash_pieces(pieces)


def awaited_importance(source: ModelSource) -> Importance:
    """Stands for the importance that calibration will give, when types are chosen."""
    return {
        name: np.ones(tensor.n_cols, np.float32)
        for name, tensor in source.tensors.items()
        if name.startswith("blk.") and len(tensor.shape) > 1
    }


def calibrate_on(
    source: ModelSource,
    types: Mapping[str, QuantType],
    sample: Sample,
    *,
    effort: str = "fast",
    importance: Importance | None = None,
    work: Path | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
    computing: Computing = EXACT,
) -> Calibrated:
    """Calibrate on tokens; other arguments as for `calibrate`."""
    given, everybody = importance or {}, workers_of(threads)
    of = {
        "the version of quantkit": __version__,
        "the forward pass": str(computing.place),
        "the model": identity_of(source),
        "the types": " ".join(f"{name}={type.name}" for name, type in types.items()),
        "the text": hash_pieces([sample.chunks.tobytes(), sample.alone.tobytes()]),
        "the effort": effort,
        "the importance matrix": hash_pieces(importance_pieces(given)),
    }
    tell = notify or (lambda message: None)
    if message := short_text(source, types, sample):
        tell(message)
    store = Store(work, of)
    if store.notice:
        tell(store.notice)
    with (
        keeping(store),
        unchanged(source),
        damage_named(source),
        kept_open(in_this_process(threads)) as workers,
    ):
        others = workers if whole_workers(everybody) is None else everybody
        how = EFFORTS[effort], given, store, workers, others, computing
        ModelPass(source, types, sample, *how).run(progress)
    for message in about_gains(store.gains.values()):
        tell(message)
    everything = {**store.importance, **given}
    return Calibrated(
        *(store.gains, everything, store, computing.number),
        is_sent=whole_workers(everybody) is not None,
    )


def _say_narrow(
    source: ModelSource,
    sample: Sample,
    calibration: Calibration,
    threads: int | Workers | None,
    notify: Notify,
) -> None:
    """Tell the user if the text is narrow."""
    with damage_named(source), kept_open(in_this_process(threads)) as workers:
        found = breadth_of_sample(source, sample, calibration.options, workers)
    if found is not None and found.warning is not None:
        notify(found.warning)
