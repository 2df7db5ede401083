"""Calibrate the rounding of a model's matrices on a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import QuantkitError
from ..execution.workers import Workers
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..progress import Notify, Progress
from ..types import QuantType
from .calibrated import Calibrated
from .gain import Gain

if TYPE_CHECKING:
    from .calibration import Calibration  # type: ignore[import-not-found]

__all__ = ["Calibrated", "Gain", "calibrate"]


def calibrate(
    source: ModelSource,
    types: Mapping[str, QuantType],
    calibration: Calibration,
    *,
    importance: Importance | None = None,
    work: Path | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Calibrated:
    """Solve the matrices of a model on a calibration text, one layer after the other.

    Args:
        source: the unquantized model.
        types: the type of each tensor of the file that is made.
        calibration: the text, and how thorough to be.
        importance: by tensor name; for tensors that are not calibrated, and for the
            plain rounding that calibration is compared with.  Others have that of the
            calibration text.
        work: a folder for the solved rows, from which an interrupted run goes on; None:
            a temporary one.
        threads: pieces of work at a time; the bytes do not depend on it.
        progress: called with the stage, the finished steps and their total.
        notify: called with what the user should know, such as a text that is too short
            for wide matrices.

    Raises:
        FormatError: a file of the source changed.
        NonFiniteError: an activation or a weight is NaN or infinite.
        OutputError: `work` cannot be written, or another process uses it.
        QuantkitError: the text is too short, or quantkit cannot run the model.
    """
    raise QuantkitError("calibration is not yet there")
