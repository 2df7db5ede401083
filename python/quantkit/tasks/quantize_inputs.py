"""What `quantize_file` reads: the model, the importance and the calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..calibrating.calibration import Calibration
from ..calibrating.run import awaited_importance, sample_for
from ..calibrating.sample import Sample
from ..files.open_files import WatchedFiles
from ..gguf.importance import Importance
from ..gguf.keys import Field
from ..importance.given import ImportanceLike, importance_of, importance_path
from ..importance.reading import read_contents
from ..importance.record import imatrix_fields
from ..progress import Notify
from ..quantizing.grid import is_on_grid
from ..sources.checking import check_source
from ..sources.checkpoint import CheckpointSource
from ..sources.edits import EditedModel, Edits, edit, runnable
from ..sources.opening import ModelLike, open_source
from .calibration_record import text_files

__all__ = ["QuantizeInputs", "read_inputs"]


@dataclass(frozen=True)
class QuantizeInputs:
    """The inputs of a quantized file.

    Attributes:
        source: the model, with the edits.
        edits: the edits.
        imatrix: the file of the importance matrix, if it is one.
        importance: by name of the source's tensors; None: none was given.
        about_imatrix: metadata about that file.
        calibration: the calibration; None: rounding is plain.
        watched: the files, which must not change.
    """

    source: EditedModel
    edits: Edits
    imatrix: Path | None
    importance: Importance | None
    about_imatrix: Mapping[str, Field]
    calibration: Calibration | None
    watched: WatchedFiles

    @property
    def texts(self) -> list[Path]:
        """The files of the calibration's texts."""
        return text_files(self.calibration)

    @property
    def expected_importance(self) -> Importance | None:
        """The importance, and what stands for that which calibration will give."""
        if self.calibration is None:
            return self.importance
        return {**awaited_importance(self.source), **(self.importance or {})}

    @cached_property
    def model_to_run(self) -> EditedModel:
        """The model as the forward pass needs it: the edits may name its metadata."""
        return runnable(self.source, self.edits)

    @cached_property
    def is_on_grid(self) -> bool:
        """Whether the source's weights look dequantized."""
        return is_on_grid(self.source)

    def sample(self) -> Sample | None:
        """The tokens of the calibration; None: there is none.

        Raises:
            QuantkitError: quantkit cannot run the model, or the texts are too short.
        """
        if self.calibration is None:
            return None
        check_source(self.model_to_run)
        return sample_for(self.model_to_run, self.calibration)


def read_inputs(
    model: ModelLike,
    edits: Edits,
    importance: ImportanceLike | None,
    calibration: Calibration | None,
    notify: Notify | None,
) -> QuantizeInputs:
    """Open the model, and read the importance; arguments as for `quantize_file`."""
    imatrix = importance_path(importance)
    files = [*([imatrix] if imatrix else []), *text_files(calibration)]
    watched = WatchedFiles(files)
    given, about_imatrix = _read_importance(importance, imatrix)
    opened = open_source(model, notify=notify)
    if isinstance(opened, CheckpointSource):
        opened.check()
    return QuantizeInputs(
        *(edit(opened, edits), edits, imatrix),
        *(edits.importance_after(given), about_imatrix),
        *(calibration, watched),
    )


def _read_importance(
    importance: ImportanceLike | None, path: Path | None
) -> tuple[Importance | None, dict[str, Field]]:
    """The importance, and the metadata about it if it is read from a path."""
    if path is None:
        return importance_of(importance), {}
    found = read_contents(path)
    return found.importance(), imatrix_fields(path, found)
