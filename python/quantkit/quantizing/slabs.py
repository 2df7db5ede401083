"""Convert tensors to their target types, one slab of rows at a time.

A slab is the unit of work wherever types change, in files and in memory.  It is about
4 MiB of f32, so memory does not grow with the tensor.  The bytes do not depend on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import dequantize_rows
from ..errors import NonFiniteError
from ..files.mapped import fetched
from ..gguf.source import SourceTensor
from ..types import QuantType
from .rounding import NEAREST, Rounding

__all__ = [
    "Slab",
    "slabs_of",
]


Item = TypeVar("Item")
Result = TypeVar("Result")

SLAB_WEIGHTS = 1 << 20
"""Weights in a slab: large enough to hide Python's share, small enough for a cache."""

INFINITY = {QuantType.F16: 0x7C00, QuantType.BF16: 0x7F80}
"""The exponent bits, which are all set in infinities."""

SAFE_WEIGHT = 1000
"""No weights below this make a scale overflow: scales are no larger than weights, and
half precision holds 65504."""


@dataclass(frozen=True)
class Slab:
    """Rows start..stop-1 of a tensor, their target type and their rounding.

    It only describes the work: when pickled, the other process reads the rows itself.
    """

    tensor: SourceTensor
    start: int
    stop: int
    type: QuantType
    rounding: Rounding = NEAREST

    @property
    def n_weights(self) -> int:
        """The number of weights in the slab."""
        return (self.stop - self.start) * self.tensor.n_cols

    @property
    def n_bytes(self) -> int:
        """The size of the slab in its target type, in bytes."""
        return (self.stop - self.start) * self.type.row_bytes(self.tensor.n_cols)

    def convert(self) -> NDArray[np.uint8]:
        """The rows in the target type: uint8 [rows, row bytes].

        Raises:
            NonFiniteError: a weight is NaN or infinite, or becomes so in the type; the
                message names the tensor, the row and the column.
        """
        tensor = self.tensor
        stored = fetched(tensor.read(self.start, self.stop))
        if self.type is tensor.type:
            return stored
        rows = dequantize_rows(stored, tensor.type, tensor.n_cols)
        try:
            converted = self.rounding.quantized(rows, self.type)
        except NonFiniteError:
            self._refuse(rows, ~np.isfinite(rows))
            raise  # the importance was at fault
        if self.type in INFINITY:
            infinity = INFINITY[self.type]
            overflowed = converted.view(np.uint16) & infinity == infinity
            if overflowed.any():
                self._refuse(rows, overflowed)
        elif self.type.is_quantized:
            self._check_scales(rows, converted)
        return converted

    def _check_scales(
        self, rows: NDArray[np.float32], converted: NDArray[np.uint8]
    ) -> None:
        """Refuse blocks whose scale overflowed: no weight of theirs reads back finite.

        ggml's quantizers write them, but llama-quantize checks its result as well.
        """
        if rows.min(initial=0) > -SAFE_WEIGHT and rows.max(initial=0) < SAFE_WEIGHT:
            return
        n_cols, size = self.tensor.n_cols, self.type.block_size
        firsts = dequantize_rows(converted, self.type, n_cols)[:, ::size]
        for row, block in np.argwhere(~np.isfinite(firsts))[:1]:
            start = block * size
            largest = np.abs(rows[row, start : start + size]).max()
            weighted = self.rounding.importance is not None
            importance = ", or the importance is" if weighted else ""
            raise NonFiniteError(
                f"tensor {self.tensor.name}: the weights at row {self.start + row}, "
                f"columns {start} to {start + size - 1}, of up to {largest:g}, are too "
                f"large for {self.type.name}, whose scales are half-precision numbers"
                f"{importance}; choose BF16 or F32, or check the checkpoint"
            )

    def _refuse(self, rows: NDArray[np.float32], bad: NDArray[np.bool_]) -> None:
        for row, column in np.argwhere(bad)[:1]:
            value = rows[row, column]
            larger = "BF16 or F32" if self.type is QuantType.F16 else "F32"
            remedy = (
                f"which {self.type.name} cannot hold; choose {larger}"
                if np.isfinite(value)
                else "and only finite weights can be quantized; check the checkpoint"
            )
            raise NonFiniteError(
                f"tensor {self.tensor.name}: the weight at row {self.start + row}, "
                f"column {column} is {value}, {remedy}"
            )


def slabs_of(
    tensor: SourceTensor, type: QuantType, roundings: Sequence[Rounding] = (NEAREST,)
) -> Iterator[Slab]:
    """The slabs of a tensor, in order of rows.

    Args:
        tensor: the tensor.
        type: the target type.
        roundings: one for each equal share of the rows; a slab never spans two shares.
    """
    step = max(1, SLAB_WEIGHTS // max(1, tensor.n_cols))
    n_share = tensor.n_rows // len(roundings)
    for i, rounding in enumerate(roundings):
        end = (i + 1) * n_share
        for start in range(i * n_share, end, step):
            yield Slab(tensor, start, min(start + step, end), type, rounding)
