"""Convert tensors to their target types, one slab of rows at a time.

A slab is the unit of work wherever types change, in files and in memory.  It is about
4 MiB of f32, so memory does not grow with the tensor.  The bytes do not depend on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..arrays.finite import refuse_non_finite, refuse_overflow
from ..arrays.rows import dequantize_rows
from ..errors import NonFiniteError
from ..files.mapped import fetched
from ..gguf.source import SourceTensor
from ..types import QuantType
from .rounding import NEAREST, Rounding

__all__ = [
    "Slab",
    "slabs_of",
]


SLAB_WEIGHTS = 1 << 20
"""Weights in a slab: enough to make Python's overhead small, few enough for a cache."""


@dataclass(frozen=True)
class Slab:
    """Rows start..stop-1 of a tensor, their target type and their rounding.

    It only describes the work: when pickled, the other process reads the rows itself.

    Attributes:
        tensor, start, stop, type, rounding: as above.
        share: the first row of the tensor that has this rounding.
    """

    tensor: SourceTensor
    start: int
    stop: int
    type: QuantType
    rounding: Rounding = NEAREST
    share: int = 0

    @property
    def where(self) -> str:
        """The tensor and its rows, for messages."""
        return f"tensor {self.tensor.name}, rows {self.start} to {self.stop - 1}"

    @property
    def n_weights(self) -> int:
        """The number of weights in the slab."""
        return (self.stop - self.start) * self.tensor.n_cols

    @property
    def n_bytes(self) -> int:
        """The size of the slab in its target type, in bytes."""
        return (self.stop - self.start) * self.type.row_bytes(self.tensor.n_cols)

    def pieces(self) -> Iterator[Slab]:
        """The same rows as slabs of the usual size."""
        step = max(1, SLAB_WEIGHTS // self.tensor.n_cols)
        for start in range(self.start, self.stop, step):
            yield replace(self, start=start, stop=min(start + step, self.stop))

    def stored(self) -> NDArray[np.uint8]:
        """The rows in the tensor's own type: uint8 [rows, row bytes]."""
        return fetched(self.tensor.read(self.start, self.stop))

    def convert(self) -> NDArray[np.uint8]:
        """The rows in the target type: uint8 [rows, row bytes].

        Raises:
            NonFiniteError: a weight is NaN or infinite, or would be in the type; the
                message names the tensor, the row and the columns.
        """
        tensor, stored = self.tensor, self.stored()
        if self.type is tensor.type:
            return stored
        rows = dequantize_rows(stored, tensor.type, tensor.n_cols)
        of, first_row = f"tensor {tensor.name}: ", self.start
        try:
            converted = self.rounding.quantized(rows, self.type, first_row - self.share)
        except NonFiniteError:
            refuse_non_finite(rows, of=of, first_row=first_row)
            raise  # the importance is not finite
        refuse_overflow(
            *(rows, converted, self.type, self.rounding.importance),
            of=of,
            first_row=first_row,
        )
        return converted


def slabs_of(
    tensor: SourceTensor,
    type: QuantType,
    roundings: Sequence[Rounding] = (NEAREST,),
    first: int = 0,
    last: int | None = None,
    *,
    weights: int = SLAB_WEIGHTS,
) -> Iterator[Slab]:
    """The slabs of a tensor, in order of rows.

    Args:
        tensor: the tensor.
        type: the target type.
        roundings: one for each equal share of the rows; a slab never spans two shares.
        first, last: only rows first..last-1 of the tensor; None: to its end.
        weights: the number of weights in a slab, about.
    """
    if not tensor.n_weights:  # however many rows without weights
        return
    last = tensor.n_rows if last is None else last
    step = max(1, weights // tensor.n_cols)
    n_share = (last - first) // len(roundings)
    for i, rounding in enumerate(roundings):
        share, end = first + i * n_share, first + (i + 1) * n_share
        for start in range(share, end, step):
            stop = min(start + step, end)
            yield Slab(tensor, start, stop, type, rounding, share)
