"""The report of a quantized file: each tensor, each type, and totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibrating.cost import CalibrationCost
from ..calibrating.gain import Gain
from ..cells import Cells
from ..display import Displayed
from ..files.json_file import json_text
from ..files.whole_file import write_whole
from ..paths import StrPath, as_path
from ..quantities import mib_as_text
from ..quantizing.tensor_errors import TensorErrors
from ..types import QuantType
from .calibration import CalibrationCheck

__all__ = ["QuantizeReport", "TensorReport", "TypeReport"]


@dataclass(frozen=True)
class TensorReport(Displayed):
    """How one tensor was quantized.

    Attributes:
        name: GGUF name.
        shape: row length last.
        source_type: its type in the source.
        type: its type in the file.
        n_bytes: its bytes in the file.
        reason: the rule that chose the type.
        fallback_from: the recipe's type, if the rows are not a multiple of its block,
            or if it needs importance and the tensor has none.
        errors: the errors against the source, if measured.
        gain: what calibration did for it, if it was calibrated.
    """

    name: str
    shape: tuple[int, ...]
    source_type: QuantType
    type: QuantType
    n_bytes: int
    reason: str
    fallback_from: QuantType | None
    errors: TensorErrors | None = None
    gain: Gain | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict for JSON."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "from": self.source_type.name,
            "to": self.type.name,
            "bytes": self.n_bytes,
            "reason": self.reason,
            "fallback_from": self.fallback_from and self.fallback_from.name,
            **(self.errors.to_dict() if self.errors is not None else {}),
            **({} if self.gain is None else {"calibration": self.gain.to_dict()}),
        }


@dataclass(frozen=True)
class TypeReport(Displayed):
    """All tensors of one type.

    Attributes:
        type: the type.
        n_tensors: their number.
        n_bytes: their bytes.
        errors: over all that changed, if measured.
    """

    type: QuantType
    n_tensors: int
    n_bytes: int
    errors: TensorErrors | None


@dataclass(frozen=True)
class QuantizeReport(Displayed):
    """The contents of a quantized file; after a dry run, what it would contain.

    Attributes:
        path: the file, or the first of several.
        recipe: the recipe's name.
        tensors: one entry per tensor, in file order.
        size_bytes: of all files together.
        paths: all files.
        is_dry_run: nothing was written.
        check: the calibrated file and plain rounding, if they were measured.
        cost: after a dry run with a calibration, what it is expected to take.
        on_grid: the source's weights look dequantized; see `quantizing.grid`.
    """

    path: Path
    recipe: str
    tensors: tuple[TensorReport, ...]
    size_bytes: int
    paths: tuple[Path, ...] = ()
    is_dry_run: bool = False
    check: CalibrationCheck | None = None
    cost: CalibrationCost | None = None
    on_grid: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Bits of all tensors divided by their weights."""
        n_weights = sum(int(np.prod(t.shape)) for t in self.tensors)
        return 8 * sum(t.n_bytes for t in self.tensors) / max(n_weights, 1)

    @property
    def fallbacks(self) -> tuple[TensorReport, ...]:
        """The tensors that did not get the type of the recipe."""
        return tuple(t for t in self.tensors if t.fallback_from is not None)

    @property
    def gains(self) -> tuple[Gain, ...]:
        """What calibration did for each tensor that it tried."""
        return tuple(t.gain for t in self.tensors if t.gain is not None)

    @property
    def types(self) -> tuple[TypeReport, ...]:
        """The tensors by type, the most frequent type first."""
        counts = Counter(t.type for t in self.tensors)
        return tuple(
            _of_type(type, [t for t in self.tensors if t.type is type])
            for type, _ in counts.most_common()
        )

    def cells(self) -> Cells:
        """The types in the file as a table of text, with their errors if measured."""
        is_measured = any(t.errors is not None for t in self.tensors)
        errors = (">RMSE", ">SNR dB", ">max error") if is_measured else ()
        rows = [_type_cells(use, len(errors)) for use in self.types]
        return Cells(("type", ">tensors", ">size", *errors), rows)

    def _shown(self) -> list[Cells | str]:
        return [*super()._shown(), self.cells()]

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict for JSON."""
        return {
            "files": [str(path) for path in self.paths],
            "recipe": self.recipe,
            "size_bytes": self.size_bytes,
            "bits_per_weight": self.bits_per_weight,
            "on_grid": self.on_grid,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
            **({} if self.check is None else {"check": self.check.to_dict()}),
            **({} if self.cost is None else {"calibration_cost": asdict(self.cost)}),
        }

    def write_json(self, path: StrPath) -> None:
        """Write the report to a JSON file.

        Raises:
            OutputError: the file cannot be written.
        """
        write_whole(as_path(path, "path"), json_text(self.to_dict()) + "\n")


def _type_cells(use: TypeReport, n_errors: int) -> tuple[str, ...]:
    """The row of a type; its errors stay empty if they were not measured."""
    errors = [""] * n_errors
    if use.errors is not None:
        snr = use.errors.snr_db
        errors = [
            f"{use.errors.rmse:.3g}",
            "-" if snr is None else f"{snr:.2f}",
            f"{use.errors.largest:.3g}",
        ]
    size = mib_as_text(use.n_bytes)
    return (use.type.name, str(use.n_tensors), size, *errors)


def _of_type(type: QuantType, tensors: list[TensorReport]) -> TypeReport:
    measured = [t.errors for t in tensors if t.errors is not None]
    return TypeReport(
        type,
        len(tensors),
        sum(t.n_bytes for t in tensors),
        sum(measured, TensorErrors()) if measured else None,
    )
