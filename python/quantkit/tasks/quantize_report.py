"""What became of a model: tensor by tensor, and in sum."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.whole_file import write_whole
from ..paths import StrPath, as_path
from ..quantizing.tensor_errors import TensorErrors
from ..types import QuantType

__all__ = ["QuantizeReport", "TensorReport", "TypeReport"]


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor.

    Attributes:
        name: GGUF name.
        shape: row length last.
        source_type: its type before.
        type: its type in the file.
        n_bytes: its bytes in the file.
        reason: the rule that chose the type.
        fallback_from: the type the recipe chose, if the rows do not fit its block, or
            the importance matrix lacks the tensor and the type needs it.
        errors: how far it is from what it was, if that was measured.
    """

    name: str
    shape: tuple[int, ...]
    source_type: QuantType
    type: QuantType
    n_bytes: int
    reason: str
    fallback_from: QuantType | None
    errors: TensorErrors | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "from": self.source_type.name,
            "to": self.type.name,
            "bytes": self.n_bytes,
            "reason": self.reason,
            "fallback_from": self.fallback_from and self.fallback_from.name,
            **(self.errors.to_dict() if self.errors is not None else {}),
        }


@dataclass(frozen=True)
class TypeReport:
    """The tensors of one type together.

    Attributes:
        type: the type.
        n_tensors: how many there are.
        n_bytes: what they take.
        errors: of all of them that changed, if that was measured.
    """

    type: QuantType
    n_tensors: int
    n_bytes: int
    errors: TensorErrors | None


@dataclass(frozen=True)
class QuantizeReport:
    """What a quantized file holds, or would hold.

    Attributes:
        path: the file; of several, the first.
        recipe: the recipe's name.
        tensors: one entry per tensor, in file order.
        size_bytes: size of the file, or of all files.
        paths: all files.
        is_dry_run: nothing was written.
    """

    path: Path
    recipe: str
    tensors: tuple[TensorReport, ...]
    size_bytes: int
    paths: tuple[Path, ...] = ()
    is_dry_run: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Bits of all tensors over weights of all tensors."""
        n_weights = sum(int(np.prod(t.shape)) for t in self.tensors)
        return 8 * sum(t.n_bytes for t in self.tensors) / n_weights

    @property
    def fallbacks(self) -> tuple[TensorReport, ...]:
        """The tensors that did not get the type chosen for them."""
        return tuple(t for t in self.tensors if t.fallback_from is not None)

    @property
    def types(self) -> tuple[TypeReport, ...]:
        """The tensors by type, the most frequent first."""
        counts = Counter(t.type for t in self.tensors)
        return tuple(
            _of_type(type, [t for t in self.tensors if t.type is type])
            for type, _ in counts.most_common()
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "files": [str(path) for path in self.paths],
            "recipe": self.recipe,
            "size_bytes": self.size_bytes,
            "bits_per_weight": self.bits_per_weight,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }

    def write_json(self, path: StrPath) -> None:
        """Write the report to a JSON file.

        Raises:
            OutputError: the file cannot be written.
        """
        write_whole(as_path(path, "path"), json.dumps(self.to_dict(), indent=2) + "\n")


def _of_type(type: QuantType, tensors: list[TensorReport]) -> TypeReport:
    measured = [t.errors for t in tensors if t.errors is not None]
    return TypeReport(
        type,
        len(tensors),
        sum(t.n_bytes for t in tensors),
        sum(measured, TensorErrors()) if measured else None,
    )
