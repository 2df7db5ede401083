"""Functions of the weights of lazy tensors, computed in f32 when rows are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..errors import CheckpointError
from ..types import QuantType
from .exponential import exponential
from .lazy import Bytes, Index, LazyTensor, LowRank

__all__ = [
    "DTYPES",
    "as_floats",
    "centered",
    "combined",
    "decay_rates",
    "exponentials",
    "integers",
    "kept_type",
    "mapped",
    "multiplied",
    "plus",
    "scaled",
    "times",
    "token_numbers",
    "unit_rows",
]

F32 = NDArray[np.float32]
Function = Callable[[F32], NDArray[Any]]
ROWS_AT_A_TIME = 4096
DTYPES = {
    QuantType.F16: np.float16,
    QuantType.F32: np.float32,
    QuantType.I32: np.int32,
    QuantType.I64: np.int64,
}


def times(tensor: LazyTensor, factor: float) -> LazyTensor:
    """Multiply every weight by a factor, in f32; by 1, the tensor is unchanged."""
    if isinstance(tensor, LowRank):
        return LowRank(tensor.a, times(tensor.b, factor))
    return (
        tensor
        if factor == 1
        else _Mapped(tensor, partial(_times, factor), QuantType.F32)
    )


def scaled(tensor: LazyTensor, factor: float) -> LazyTensor:
    """Multiply every weight by a factor in f32, as torch does.

    The result of BF16 is F32, else the type is kept, as for `plus`.
    """
    if isinstance(tensor, LowRank):
        return LowRank(tensor.a, scaled(tensor.b, factor))
    return _Mapped(tensor, partial(_scaled, np.float32(factor)), kept_type(tensor))


def plus(tensor: LazyTensor, value: float) -> LazyTensor:
    """Add `value` to every weight; the result of BF16 is F32, else the type is kept.

    llama.cpp's converter does the same: it adds in F16 for F16, but in F32 for BF16.
    """
    return _Mapped(tensor, partial(np.add, np.float32(value)), kept_type(tensor))


def as_floats(tensor: LazyTensor) -> LazyTensor:
    """The weights as F32."""
    is_f32 = tensor.type is QuantType.F32
    return tensor if is_f32 else _Mapped(tensor, np.asarray, QuantType.F32)


def centered(vector: LazyTensor) -> LazyTensor:
    """Subtract the mean from every weight of a vector, in f32; the type as for `plus`.

    The mean is that of f64; torch's f32 sum may be another in its last bit.
    """
    return _Mapped(vector, _centered, kept_type(vector))


def decay_rates(logarithms: LazyTensor) -> LazyTensor:
    """-exp of every weight; the result of BF16 is F32, else the type is kept."""
    return _Mapped(logarithms, _decay, kept_type(logarithms))


def mapped(tensor: LazyTensor, function: Function) -> LazyTensor:
    """A function of every weight, of f32; the type as for `decay_rates`."""
    return _Mapped(tensor, function, kept_type(tensor))


def exponentials(tensor: LazyTensor) -> LazyTensor:
    """exp of every weight; the type as for `decay_rates`."""
    return _Mapped(tensor, exponential, kept_type(tensor))


def multiplied(one: LazyTensor, other: LazyTensor) -> LazyTensor:
    """The products of the weights of two tensors of one shape, as F32."""
    return combined(np.multiply, (one, other))


def combined(
    function: Callable[..., NDArray[Any]], tensors: Sequence[LazyTensor]
) -> LazyTensor:
    """A function of the weights of several tensors of one shape, of f32 and as F32."""
    return _Combined(tuple(tensors), function, QuantType.F32)


def integers(tensor: LazyTensor) -> LazyTensor:
    """The weights, which are whole numbers below 2**24, as I32."""
    return _Mapped(tensor, np.asarray, QuantType.I32)


def token_numbers(steps: LazyTensor, n_tokens: int) -> LazyTensor:
    """The places in a vector, each with its weight added, as I64.

    They are the numbers of different tokens, which is checked when they are read.

    Args:
        steps: a vector of whole numbers.
        n_tokens: the size of the vocabulary.
    """
    return _Mapped(steps, partial(_placed, n_tokens), QuantType.I64)


def unit_rows(tensor: LazyTensor) -> LazyTensor:
    """Divide every row by its norm, as F32; a row of zeros is unchanged."""
    return _Mapped(tensor, _divided, QuantType.F32)


def unit_columns(matrix: LazyTensor) -> LazyTensor:
    """Divide every column by its norm, plus 1e-7, as F32.

    The squares are summed row by row, as torch does, so that the bits are the same.
    """
    return _UnitColumns(matrix)


def kept_type(tensor: LazyTensor) -> QuantType:
    """F16 for F16, and F32 for all others."""
    return QuantType.F16 if tensor.type is QuantType.F16 else QuantType.F32


def _times(factor: float, values: F32) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # refused when written
        products: NDArray[np.float64] = values * np.float64(factor)
    return products


def _scaled(factor: np.float32, values: F32) -> F32:
    with np.errstate(over="ignore", invalid="ignore"):  # refused when written
        products: F32 = values * factor
    return products


def _centered(values: F32) -> F32:
    shifted: F32 = values - np.float32(values.mean(dtype=np.float64))
    return shifted


def _decay(values: F32) -> F32:
    return -exponential(values)


def _placed(n_tokens: int, steps: F32) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = steps.astype(np.int64) + np.arange(steps.shape[-1])
    if numbers.min() < 0 or numbers.max() >= n_tokens:
        raise CheckpointError(
            f"the numbers of draft tokens go from {numbers.min()} to {numbers.max()}; "
            f"expected 0 to {n_tokens - 1}; the checkpoint is of another model"
        )
    if len(np.unique(numbers)) < numbers.size:
        raise CheckpointError(
            "two draft tokens have the same number; the checkpoint is damaged"
        )
    return numbers


def _divided(values: F32) -> F32:
    length = np.sqrt(np.einsum("ij,ij->i", values, values))
    units: F32 = values / np.maximum(length, np.finfo(np.float32).tiny)[:, None]
    return units


@dataclass(frozen=True, eq=False)
class _Mapped:
    of: LazyTensor
    function: Function
    type: QuantType

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._mapped(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._mapped(self.of.pick(index))

    def _mapped(self, rows: Bytes) -> Bytes:
        values = self.function(dequantize_rows(rows, self.of.type, self.shape[-1]))
        with np.errstate(over="ignore", invalid="ignore"):  # refused when written
            mapped: Bytes = values.astype(DTYPES[self.type]).view(np.uint8)
        return mapped


@dataclass(frozen=True, eq=False)
class _UnitColumns:
    of: LazyTensor

    type = QuantType.F32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._divided(self.of.rows(start, stop))

    def pick(self, index: Index) -> Bytes:
        return self._divided(self.of.pick(index))

    @cached_property
    def _lengths(self) -> F32:
        """The norm of each column, which takes a pass over the whole matrix."""
        sums = np.zeros((1, self.shape[-1]), np.float32)
        for start in range(0, self.shape[0], ROWS_AT_A_TIME):
            stop = min(start + ROWS_AT_A_TIME, self.shape[0])
            values = self._values(self.of.rows(start, stop))
            sums = np.concatenate([sums, values * values]).sum(axis=0, keepdims=True)
        lengths: F32 = np.sqrt(sums) + np.float32(1e-7)
        return lengths

    def _values(self, rows: Bytes) -> F32:
        return dequantize_rows(rows, self.of.type, self.shape[-1])

    def _divided(self, rows: Bytes) -> Bytes:
        units: Bytes = (self._values(rows) / self._lengths).view(np.uint8)
        return units


@dataclass(frozen=True, eq=False)
class _Combined:
    of: tuple[LazyTensor, ...]
    function: Callable[..., NDArray[Any]]
    type: QuantType

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of[0].shape

    def rows(self, start: int, stop: int) -> Bytes:
        return self._combined([tensor.rows(start, stop) for tensor in self.of])

    def pick(self, index: Index) -> Bytes:
        return self._combined([tensor.pick(index) for tensor in self.of])

    def _combined(self, parts: list[Bytes]) -> Bytes:
        values = (
            dequantize_rows(rows, tensor.type, self.shape[-1])
            for rows, tensor in zip(parts, self.of, strict=True)
        )
        with np.errstate(all="ignore"):  # what is not finite is refused when written
            result = self.function(*values).astype(DTYPES[self.type])
        combined: Bytes = result.view(np.uint8)
        return combined
