"""Lazy tensors and the operations that turn checkpoint tensors into GGUF tensors.

Conversion mostly moves rows: heads are reordered, fused matrices are split, experts are
stacked.  The result of each operation is a lazy tensor that reads from its inputs only
the rows that are requested.  So memory does not grow with the model, and operations can
be combined freely.

As everywhere in quantkit, rows are counted through all axes but the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..errors import CheckpointError
from ..files.mapped import fetched
from ..types import QuantType

__all__ = [
    "LazyTensor",
    "LowRank",
    "computed",
    "joined",
    "padded",
    "reshaped",
    "stacked",
    "taken",
    "transposed",
    "values_of",
]

Bytes = NDArray[np.uint8]
Index = NDArray[np.integer[Any]]
F32 = NDArray[np.float32]

TRANSPOSE_WEIGHTS = 1 << 20
"""Weights to read at a time when collecting the columns of a transposed tensor."""


class LazyTensor(Protocol):
    """A tensor that can be read in part; safe to read from several threads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Outermost axis first."""

    @property
    def type(self) -> QuantType:
        """The type of the rows."""

    def rows(self, start: int, stop: int) -> Bytes:
        """Rows start..stop-1: uint8 [rows, row bytes]."""

    def pick(self, index: Index) -> Bytes:
        """The rows at `index`, in its order: uint8 [len(index), row bytes]."""


@dataclass(frozen=True, eq=False)
class LowRank:
    """A matrix, or a stack of matrices, as a product b x a, as in LoRA adapters.

    Operations on rows of the product apply to rows of `b`; transposing swaps the two
    factors.  The product itself is not stored, so its rows cannot be read.

    Attributes:
        a: [..., rank, columns].
        b: [..., rows, rank].
    """

    a: LazyTensor
    b: LazyTensor

    @property
    def type(self) -> QuantType:
        """The type of `a`."""
        return self.a.type

    @property
    def rank(self) -> int:
        """The number of rows of `a`."""
        return self.a.shape[-2]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""
        return (*self.b.shape[:-1], self.a.shape[-1])

    def rows(self, start: int, stop: int) -> Bytes:
        """Not available."""
        raise NotImplementedError("the product of two matrices is not stored")

    def pick(self, index: Index) -> Bytes:
        """Not available."""
        raise NotImplementedError("the product of two matrices is not stored")


def taken(tensor: LazyTensor, index: Index, axis: int = 0) -> LazyTensor:
    """Select the entries `index` of an axis, in that order.

    Args:
        tensor: any tensor; for a vector, elements are selected.
        index: entries of the axis.
        axis: not the last axis, except for a vector.

    Raises:
        CheckpointError: the axis has no such entry.
    """
    if isinstance(tensor, LowRank):
        is_of_each = axis < len(tensor.shape) - 2 and tensor.a.shape[axis] > 1
        a = taken(tensor.a, index, axis) if is_of_each else tensor.a
        return LowRank(a, taken(tensor.b, index, axis))
    if len(tensor.shape) == 1:
        column = reshaped(tensor, (*tensor.shape, 1))
        return reshaped(taken(column, index), (len(index),))
    chosen = np.asarray(index, np.intp)
    if len(chosen) and chosen.max() >= tensor.shape[axis]:
        raise CheckpointError(
            f"a tensor of the checkpoint has the shape {list(tensor.shape)}; by "
            f"config.json, its axis {axis} has at least {chosen.max() + 1} entries; "
            "they are of different models"
        )
    return _Taken(tensor, chosen, axis)


def stacked(tensors: Sequence[LazyTensor]) -> LazyTensor:
    """Stack tensors of the same shape along a new first axis."""
    pairs = [tensor for tensor in tensors if isinstance(tensor, LowRank)]
    if len(pairs) == len(tensors):
        a, b = ([getattr(pair, part) for pair in pairs] for part in "ab")
        return LowRank(stacked(a), stacked(b))
    return _Joined(tuple(tensors), (len(tensors), *tensors[0].shape))


def joined(tensors: Sequence[LazyTensor]) -> LazyTensor:
    """Concatenate tensors along their first axis."""
    if len(tensors[0].shape) == 1:
        columns = [reshaped(tensor, (*tensor.shape, 1)) for tensor in tensors]
        whole = joined(columns)
        return reshaped(whole, whole.shape[:1])
    first = sum(tensor.shape[0] for tensor in tensors)
    return _Joined(tuple(tensors), (first, *tensors[0].shape[1:]))


def padded(tensor: LazyTensor, length: int) -> LazyTensor:
    """Append zeros, so that the first axis has this length; a longer one is kept."""
    if isinstance(tensor, LowRank):
        return LowRank(tensor.a, padded(tensor.b, length))
    n_missing = length - tensor.shape[0]
    if n_missing <= 0:
        return tensor
    return joined([tensor, _Zeros((n_missing, *tensor.shape[1:]), tensor.type)])


def reshaped(tensor: LazyTensor, shape: tuple[int, ...]) -> LazyTensor:
    """Reshape a tensor; the weights keep their order.

    If the row length changes, every read loads the whole tensor, so use this only for
    small tensors.

    Raises:
        CheckpointError: the shape has another number of weights.
    """
    if math.prod(tensor.shape) != math.prod(shape):
        raise CheckpointError(
            f"a tensor of shape {list(tensor.shape)} cannot be reshaped to "
            f"{list(shape)}; config.json does not belong to these weights"
        )
    if isinstance(tensor, LowRank):
        *_, rank, n_cols = tensor.a.shape
        ones = (1,) * (len(shape) - 2)
        a = reshaped(tensor.a, (*ones, rank, n_cols))
        return LowRank(a, reshaped(tensor.b, (*shape[:-1], rank)))
    return tensor if tensor.shape == shape else _Reshaped(tensor, shape)


def transposed(tensor: LazyTensor) -> LazyTensor:
    """Swap the last two axes.

    Raises:
        CheckpointError: the tensor is no matrix.
    """
    if isinstance(tensor, LowRank):
        return LowRank(transposed(tensor.b), transposed(tensor.a))
    if len(tensor.shape) < 2:
        raise CheckpointError(
            f"a tensor of the checkpoint has the shape {list(tensor.shape)}; expected "
            "a matrix"
        )
    return tensor.of if isinstance(tensor, _Transposed) else _Transposed(tensor)


def computed(values: NDArray[Any]) -> LazyTensor:
    """A tensor of the given values, as F32."""
    return _Computed(np.ascontiguousarray(values, dtype=np.float32))


def values_of(tensor: LazyTensor) -> NDArray[np.float32]:
    """All values of a small tensor, as an f32 array of its shape."""
    *outer, n_cols = tensor.shape or (1,)
    rows = tensor.rows(0, math.prod(outer))
    values = dequantize_rows(rows, tensor.type, n_cols)
    return values.reshape(tensor.shape)


@dataclass(frozen=True, eq=False)
class _Taken:
    of: LazyTensor
    index: NDArray[np.intp]
    axis: int

    @property
    def type(self) -> QuantType:
        return self.of.type

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.of.shape
        return (*shape[: self.axis], len(self.index), *shape[self.axis + 1 :])

    def rows(self, start: int, stop: int) -> Bytes:
        return self.pick(np.arange(start, stop))

    def pick(self, index: Index) -> Bytes:
        """The rows at `index`; a row number is (outer, entry of the axis, inner)."""
        n_inner = math.prod(self.of.shape[self.axis + 1 : -1])
        entry, inner = np.divmod(index, n_inner)
        outer, entry = np.divmod(entry, len(self.index))
        place = outer * self.of.shape[self.axis] + self.index[entry]
        return self.of.pick(place * n_inner + inner)


@dataclass(frozen=True, eq=False)
class _Zeros:
    shape: tuple[int, ...]
    type: QuantType

    def rows(self, start: int, stop: int) -> Bytes:
        return np.zeros((stop - start, self.type.row_bytes(self.shape[-1])), np.uint8)

    def pick(self, index: Index) -> Bytes:
        return self.rows(0, len(index))


@dataclass(frozen=True, eq=False)
class _Joined:
    parts: tuple[LazyTensor, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        first = self.parts[0]
        for part in self.parts:
            if part.type is not first.type or part.shape[1:] != first.shape[1:]:
                raise CheckpointError(
                    f"tensors to join are {first.type.name} {list(first.shape)} and "
                    f"{part.type.name} {list(part.shape)}; their types and shapes must "
                    "match"
                )

    @property
    def type(self) -> QuantType:
        return self.parts[0].type

    def _first_rows(self) -> NDArray[np.intp]:
        """The first row of each part, followed by the number of rows."""
        lengths = [math.prod(part.shape[:-1]) for part in self.parts]
        return np.concatenate([[0], np.cumsum(lengths)])

    def rows(self, start: int, stop: int) -> Bytes:
        first = self._first_rows()
        pieces = [
            part.rows(max(start, begin) - begin, min(stop, end) - begin)
            for part, begin, end in zip(self.parts, first, first[1:], strict=False)
            if max(start, begin) < min(stop, end)
        ]
        if not pieces:
            return self.parts[0].rows(0, 0)
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([fetched(piece) for piece in pieces])

    def pick(self, index: Index) -> Bytes:
        first = self._first_rows()
        owner = np.searchsorted(first, index, side="right") - 1
        rows = np.empty((len(index), self.rows(0, 0).shape[1]), np.uint8)
        for i in np.unique(owner):
            mine = owner == i
            rows[mine] = self.parts[i].pick(index[mine] - first[i])
        return rows


@dataclass(frozen=True, eq=False)
class _Reshaped:
    of: LazyTensor
    shape: tuple[int, ...]

    @property
    def type(self) -> QuantType:
        return self.of.type

    def _whole(self) -> Bytes:
        rows = self.of.rows(0, math.prod(self.of.shape[:-1]))
        return rows.reshape(-1, self.type.row_bytes(self.shape[-1]))

    def rows(self, start: int, stop: int) -> Bytes:
        if self.shape[-1:] == self.of.shape[-1:]:
            return self.of.rows(start, stop)
        return self._whole()[start:stop]

    def pick(self, index: Index) -> Bytes:
        if self.shape[-1:] == self.of.shape[-1:]:
            return self.of.pick(index)
        return self._whole()[index]


@dataclass(frozen=True, eq=False)
class _Transposed:
    of: LazyTensor

    @property
    def type(self) -> QuantType:
        return self.of.type

    @property
    def shape(self) -> tuple[int, ...]:
        *outer, n_rows, n_cols = self.of.shape
        return (*outer, n_cols, n_rows)

    def rows(self, start: int, stop: int) -> Bytes:
        return self.pick(np.arange(start, stop))

    def pick(self, index: Index) -> Bytes:
        n_rows, n_cols = self.of.shape[-2:]
        size = self.type.row_bytes(1)
        matrix, column = np.divmod(index, n_cols)
        picked = np.empty((len(index), n_rows, size), np.uint8)
        step = max(1, TRANSPOSE_WEIGHTS // n_cols)
        for i in np.unique(matrix):
            mine = np.flatnonzero(matrix == i)
            for start in range(0, n_rows, step):
                stop = min(start + step, n_rows)
                block = fetched(self.of.rows(i * n_rows + start, i * n_rows + stop))
                columns = block.reshape(stop - start, n_cols, size)[:, column[mine]]
                picked[mine, start:stop] = columns.swapaxes(0, 1)
        return picked.reshape(len(index), n_rows * size)


@dataclass(frozen=True, eq=False)
class _Computed:
    values: NDArray[np.float32]

    type = QuantType.F32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._matrix()[start:stop]

    def pick(self, index: Index) -> Bytes:
        return self._matrix()[index]

    def _matrix(self) -> Bytes:
        rows = self.values.reshape(-1, self.values.shape[-1])
        matrix: Bytes = rows.view(np.uint8)
        return matrix
