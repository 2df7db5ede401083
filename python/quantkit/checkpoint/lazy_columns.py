"""Lazy tensors with the columns of others; see lazy.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..files.mapped import fetched
from ..types import QuantType
from .lazy import Bytes, Index, LazyTensor, LowRank, taken

__all__ = ["columns_joined", "columns_taken"]


def columns_joined(tensors: Sequence[LazyTensor]) -> LazyTensor:
    """Concatenate matrices along their last axis.

    Raises:
        CheckpointError: their types or numbers of rows differ.
    """
    first = tensors[0]
    for tensor in tensors:
        if (tensor.type, tensor.shape[:-1]) != (first.type, first.shape[:-1]):
            raise CheckpointError(
                f"matrices to join are {first.type.name} {list(first.shape)} and "
                f"{tensor.type.name} {list(tensor.shape)}; their types and numbers of "
                "rows must match"
            )
    return _SideBySide(tuple(tensors))


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


@dataclass(frozen=True, eq=False)
class _SideBySide:
    parts: tuple[LazyTensor, ...]

    @property
    def type(self) -> QuantType:
        return self.parts[0].type

    @property
    def shape(self) -> tuple[int, ...]:
        n_cols = sum(part.shape[-1] for part in self.parts)
        return (*self.parts[0].shape[:-1], n_cols)

    def rows(self, start: int, stop: int) -> Bytes:
        rows = [fetched(part.rows(start, stop)) for part in self.parts]
        return np.concatenate(rows, axis=1)

    def pick(self, index: Index) -> Bytes:
        return np.concatenate([part.pick(index) for part in self.parts], axis=1)


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
