"""Operations on the lazy tensors of recurrent layers; see lazy.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..errors import CheckpointError
from ..types import QuantType
from .exponential import exponential
from .lazy import Bytes, Index, LazyTensor, LowRank, taken

__all__ = ["columns_taken", "decay_rates"]


def columns_taken(tensor: LazyTensor, index: Index) -> LazyTensor:
    """Select the columns `index` of a matrix, in that order.

    Args:
        tensor: its type may be a block type, if whole blocks keep their columns.
        index: columns.

    Raises:
        CheckpointError: a block would be cut.
    """
    if isinstance(tensor, LowRank):
        return LowRank(columns_taken(tensor.a, index), tensor.b)
    if len(tensor.shape) == 1:
        return taken(tensor, index)
    size = tensor.type.block_size
    steps = np.arange(len(index)) % size
    starts = np.asarray(index, np.intp) - steps
    blocks = starts[::size] // size
    if len(index) % size or np.any(starts != np.repeat(blocks, size) * size):
        raise CheckpointError(
            f"the columns of a {tensor.type.name} matrix cannot be put into the order "
            f"of GGUF, because blocks of {size} columns would be cut"
        )
    return _Columns(tensor, blocks)


def decay_rates(logarithms: LazyTensor) -> LazyTensor:
    """-exp of every weight; the result of BF16 is F32, else the type is kept."""
    return _DecayRates(logarithms)


@dataclass(frozen=True, eq=False)
class _Columns:
    of: LazyTensor
    blocks: NDArray[np.intp]

    @property
    def type(self) -> QuantType:
        return self.of.type

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.of.shape[:-1], len(self.blocks) * self.type.block_size)

    def rows(self, start: int, stop: int) -> Bytes:
        return self._selected(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._selected(self.of.pick(index))

    def _selected(self, rows: Bytes) -> Bytes:
        blocks = rows.reshape(len(rows), -1, self.type.block_bytes)
        return blocks[:, self.blocks].reshape(len(rows), -1)


@dataclass(frozen=True, eq=False)
class _DecayRates:
    of: LazyTensor

    @property
    def type(self) -> QuantType:
        return QuantType.F16 if self.of.type is QuantType.F16 else QuantType.F32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._raised(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._raised(self.of.pick(index))

    def _raised(self, rows: Bytes) -> Bytes:
        values = dequantize_rows(rows, self.of.type, self.shape[-1])
        rates = -exponential(values)
        if self.type is QuantType.F16:
            with np.errstate(over="ignore"):  # refused when written
                rates = rates.astype(np.float16)
        raised: Bytes = rates.view(np.uint8)
        return raised
