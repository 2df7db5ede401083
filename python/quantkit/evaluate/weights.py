"""A model's weights in memory, in any mix of types, ready to multiply.

Quantized weights stay quantized: a panel of rows at a time is unpacked to f32 and goes
through BLAS, so that the working memory is one panel per thread.  Weights that keep
their type stay where they are, in the mapped file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import dequantize_rows
from ..errors import FormatError
from ..models import load_model as load_family_model
from ..models.base import Model
from ..planning import MissingImatrix, plan
from ..progress import Progress
from ..recipes import Recipe
from ..slabs import Importance, Slab, convert_in_order, slabs_of
from ..source import ModelSource
from ..types import QuantType

__all__ = ["MemoryWeights", "TypedMatrix", "load_model", "load_weights"]

F32 = NDArray[np.float32]

PANEL_WEIGHTS = 1 << 18
"""Weights unpacked at a time: 1 MiB of f32, which stays in a core's cache."""


@dataclass(frozen=True)
class TypedMatrix:
    """A weight matrix in GGUF bytes; see `models.base.Matrix`.

    Attributes:
        data: uint8 [n_rows, row_bytes].
        type: how a row is packed.
        n_cols: weights in a row.
    """

    data: NDArray[np.uint8]
    type: QuantType
    n_cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return len(self.data), self.n_cols

    def apply(self, x: F32) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        n_rows = len(self.data)
        y = np.empty((len(x), n_rows), np.float32)
        step = max(1, PANEL_WEIGHTS // self.n_cols)
        for start in range(0, n_rows, step):
            panel = self._unpacked(self.data[start : start + step])
            np.matmul(x, panel.T, out=y[:, start : start + step])
        return y

    def part(self, start: int, stop: int) -> TypedMatrix:
        """Rows start..stop-1 as a matrix of their own, without a copy."""
        return TypedMatrix(self.data[start:stop], self.type, self.n_cols)

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows named by `index`, dequantized: [len(index), n_cols]."""
        return self._unpacked(self.data[index])

    def _unpacked(self, rows: NDArray[np.uint8]) -> F32:
        if self.type is QuantType.F32:
            return rows.view(np.float32)
        return dequantize_rows(rows, self.type, self.n_cols)


@dataclass(frozen=True)
class MemoryWeights:
    """The tensors of a model, by GGUF name; see `models.base.Weights`."""

    tensors: Mapping[str, TypedMatrix]

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors: what a file spends on them."""
        return sum(tensor.data.nbytes for tensor in self.tensors.values())

    @property
    def bits_per_weight(self) -> float:
        """Bits of all tensors over weights of all tensors."""
        n_weights = sum(t.shape[0] * t.shape[1] for t in self.tensors.values())
        return 8 * self.n_bytes / n_weights

    @property
    def main_type(self) -> QuantType:
        """The type that most weights have."""
        counts: dict[QuantType, int] = {}
        for tensor in self.tensors.values():
            n_weights = tensor.shape[0] * tensor.shape[1]
            counts[tensor.type] = counts.get(tensor.type, 0) + n_weights
        return max(counts, key=lambda type: counts[type])

    def __contains__(self, name: object) -> bool:
        """Whether the model has a tensor called `name`."""
        return name in self.tensors

    def matrix(self, name: str) -> TypedMatrix:
        """The matrix called `name`.

        Raises:
            FormatError: the model has no such tensor.
        """
        if name not in self.tensors:
            raise FormatError(f"the model lacks the tensor {name!r}")
        return self.tensors[name]

    def vector(self, name: str) -> F32:
        """All weights of a small tensor called `name`, as f32 in one axis."""
        matrix = self.matrix(name)
        return matrix.rows(np.arange(matrix.shape[0])).reshape(-1)


def load_weights(
    source: ModelSource,
    recipe: Recipe | None = None,
    *,
    importance: Importance | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> MemoryWeights:
    """The weights of `source`, quantized in memory if there is a recipe.

    Args:
        source: a GGUF file or a checkpoint.
        recipe: which types to use; None: the weights as they are.
        importance: by tensor name, how much each column counts.
        threads: slabs quantized at a time; the bytes do not depend on it.
        progress: told about the weights quantized.

    Raises:
        UnsupportedTypeError: the recipe needs an importance that is not there, or the
            weights are quantized already.
    """
    missing = MissingImatrix.FALLBACK if importance else MissingImatrix.REFUSE
    types = plan(source, recipe, importance, missing_imatrix=missing) if recipe else {}
    tensors: dict[str, TypedMatrix] = {}
    slabs: list[Slab] = []
    for name, tensor in source.tensors.items():
        type = types[name].type if name in types else tensor.type
        if type is tensor.type:
            data = tensor.read(0, tensor.n_rows)
        else:
            data = np.empty((tensor.n_rows, type.row_bytes(tensor.n_cols)), np.uint8)
            slabs += slabs_of(tensor, type, (importance or {}).get(name))
        tensors[name] = TypedMatrix(data, type, tensor.n_cols)
    stage = f"{recipe.name}: quantize" if recipe else "load"
    done, total = 0, sum(slab.n_weights for slab in slabs)
    for slab, rows in convert_in_order(slabs, threads):
        tensors[slab.tensor.name].data[slab.start : slab.stop] = rows
        done += slab.n_weights
        if progress is not None:
            progress(stage, done, total)
    return MemoryWeights(tensors)


def load_model(source: ModelSource, weights: MemoryWeights) -> Model:
    """The runnable model of a source's metadata and of weights made from it.

    Raises:
        FormatError: the metadata does not name the architecture, or lacks a key.
        UnsupportedModelError: quantkit cannot run this model.
    """
    field = source.metadata.get("general.architecture")
    if field is None:
        raise FormatError("the metadata lacks general.architecture")
    return load_family_model(source.metadata, field.value, weights)
