"""Rows of a tensor of the source, which other processes read for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..forward.base import F32, Activations
from ..gguf.source import SourceTensor
from ..inference.weights import TypedMatrix

__all__ = ["SourceMatrix"]


@dataclass(frozen=True, eq=False)
class SourceMatrix:
    """Consecutive rows of a tensor.

    Attributes:
        tensor: the tensor.
        first: the first of the rows.
        matrix: the rows.
    """

    tensor: SourceTensor
    first: int
    matrix: TypedMatrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self.matrix.shape

    @property
    def where(self) -> str:
        """The tensor and its rows, for messages."""
        last = self.first + self.shape[0] - 1
        return f"tensor {self.tensor.name}, rows {self.first} to {last}"

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        return self.matrix.apply(x)

    def part(self, start: int, stop: int) -> SourceMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        part = self.matrix.part(start, stop)
        return SourceMatrix(self.tensor, self.first + start, part)

    def chosen(self, index: NDArray[np.integer[Any]]) -> TypedMatrix:
        """The rows at `index` as a matrix."""
        return self.matrix.chosen(index)

    def weights(self, rows: NDArray[np.intp] | slice = slice(None)) -> F32:
        """Some of the rows, without the factors of rows: f32 [n, n_cols]."""
        matrix = self.matrix
        return dequantize_rows(matrix.data[rows], matrix.type, matrix.n_cols)

    def __reduce__(self) -> tuple[Any, ...]:
        stop = self.first + self.shape[0]
        return _read, (self.tensor, self.first, stop, self.matrix.scale)


def _read(
    tensor: SourceTensor, first: int, stop: int, scale: F32 | None
) -> SourceMatrix:
    data = tensor.read(first, stop)
    matrix = TypedMatrix(data, tensor.type, tensor.n_cols, scale=scale)
    return SourceMatrix(tensor, first, matrix)
