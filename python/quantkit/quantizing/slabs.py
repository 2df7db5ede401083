"""Tensors converted to their target types, a slab of rows at a time, in parallel.

A slab is the unit of work of everything that changes types: files and weights in
memory.  It is about 4 MiB of f32, so that memory stays small whatever the size of a
tensor, and the bytes do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import dequantize_rows, quantize_rows
from ..errors import NonFiniteError, ShapeError
from ..execution.threads import work_in_order
from ..files.mapped import fetched
from ..finite import refuse_non_finite, refuse_overflow
from ..gguf.source import SourceTensor
from ..types import QuantType

__all__ = [
    "Slab",
    "convert_in_order",
    "slabs_of",
]


Item = TypeVar("Item")
Result = TypeVar("Result")

SLAB_WEIGHTS = 1 << 20
"""Weights in a slab: large enough to hide Python's share, small enough for a cache."""


@dataclass(frozen=True)
class Slab:
    """Rows start..stop-1 of a tensor and the type that they are to get."""

    tensor: SourceTensor
    start: int
    stop: int
    type: QuantType
    importance: NDArray[np.float32] | None = None

    @property
    def n_weights(self) -> int:
        """Weights in the slab."""
        return (self.stop - self.start) * self.tensor.n_cols

    @property
    def n_bytes(self) -> int:
        """Bytes of the slab in its new type."""
        return (self.stop - self.start) * self.type.row_bytes(self.tensor.n_cols)

    def convert(self) -> NDArray[np.uint8]:
        """The rows in the slab's type: uint8 [rows, row bytes].

        Raises:
            NonFiniteError: a weight is NaN or infinite, or becomes so in the type; the
                message names the tensor, the row and the column.
        """
        tensor = self.tensor
        stored = fetched(tensor.read(self.start, self.stop))
        if self.type is tensor.type:
            return stored
        rows = dequantize_rows(stored, tensor.type, tensor.n_cols)
        of, first_row = f"tensor {tensor.name}: ", self.start
        try:
            converted = quantize_rows(rows, self.type, self.importance)
        except NonFiniteError:
            refuse_non_finite(rows, of=of, first_row=first_row)
            raise  # the importance was at fault
        refuse_overflow(
            *(rows, converted, self.type, self.importance), of=of, first_row=first_row
        )
        return converted


def slabs_of(
    tensor: SourceTensor, type: QuantType, importance: NDArray[np.float32] | None = None
) -> Iterator[Slab]:
    """The slabs of a tensor, in order of rows; none crosses from matrix to matrix.

    Raises:
        ShapeError: the importance fits neither the columns nor the matrices.
    """
    step = max(1, SLAB_WEIGHTS // max(1, tensor.n_cols))
    per_matrix = _importance_of_matrices(tensor, importance)
    n_matrix_rows = tensor.n_rows // len(per_matrix)
    for matrix, weights in enumerate(per_matrix):
        first = matrix * n_matrix_rows
        for start in range(first, first + n_matrix_rows, step):
            stop = min(start + step, first + n_matrix_rows)
            yield Slab(tensor, start, stop, type, weights)


def _importance_of_matrices(
    tensor: SourceTensor, importance: NDArray[np.float32] | None
) -> list[NDArray[np.float32] | None]:
    """One importance for each stretch of rows that shares it."""
    if importance is None:
        return [None]
    n_matrices = tensor.n_rows // tensor.shape[-2] if len(tensor.shape) > 2 else 1
    fits = importance.ndim == 1 or importance.shape[-1] == tensor.n_cols
    if not fits or importance.size not in (tensor.n_cols, n_matrices * tensor.n_cols):
        raise ShapeError(
            f"tensor {tensor.name}: the importance has shape {list(importance.shape)}; "
            f"expected [{tensor.n_cols}] or [{n_matrices}, {tensor.n_cols}]; is it of "
            "another model?"
        )
    return list(importance.reshape(-1, tensor.n_cols))


def convert_in_order(
    slabs: Iterable[Slab], threads: int | None = None
) -> Iterator[tuple[Slab, NDArray[np.uint8]]]:
    """Convert slabs in parallel and give them in order, holding a few per thread."""
    return work_in_order(slabs, Slab.convert, threads)
