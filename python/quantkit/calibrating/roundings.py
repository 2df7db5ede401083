"""The roundings of a calibration, from its text to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .._native import needs_importance
from ..errors import UnsupportedTypeError
from ..execution.workers import Workers
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.computing import EXACT, Computing
from ..progress import Notify, Progress
from ..types import QuantType
from .calibrated import Calibrated, keeping
from .calibration import Calibration
from .run import calibrate
from .sample import Sample

__all__ = ["calibrated_roundings"]


@contextmanager
def calibrated_roundings(
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
) -> Iterator[Calibrated]:
    """Calibrate, and keep the solved rows while the block runs.

    Arguments are those of `calibrate`.

    Raises:
        KeyboardInterrupt: its message says how to go on.
        UnsupportedTypeError: a type needs importance, and neither the caller nor the
            calibration has any for the tensor.
        QuantkitError: as for `calibrate`.
    """
    with calibrate(
        *(source, types, calibration),
        sample=sample,
        importance=importance,
        work=work,
        threads=threads,
        progress=progress,
        notify=notify,
        computing=computing,
    ) as calibrated:
        for name, type in types.items():
            if needs_importance(type) and name not in calibrated.importance:
                raise UnsupportedTypeError(
                    f"{type.name} needs importance, and calibration gives none for "
                    f"{name}, which the model's forward pass does not use; give it "
                    "another type (`overrides`) or an importance matrix (`importance`)"
                )
        with keeping(calibrated.store):
            yield calibrated
