"""Tensors of a checkpoint: stored in a mapped shard, or computed from such on reading.

Sources: the type names of the safetensors format; the 8-bit floats of the OCP 8-bit
Floating Point and Microscaling Formats specifications (E4M3 without infinities, E5M2,
E8M0), as PyTorch reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError, UnsupportedTypeError
from ..files.mapped import fetched, release
from ..types import QuantType

__all__ = [
    "CheckpointTensor",
    "DequantizedTensor",
    "Rows",
    "ShardedTensor",
    "StoredTensor",
    "as_found",
]

Rows = slice | NDArray[np.integer[Any]]
"""Which rows: a range, or row numbers in any order."""

ALL = slice(None)

F32 = NDArray[np.float32]

MAX_SPARSITY = 4
"""`pick` reads a contiguous range if it has at most this many rows per wanted row."""
Reader = tuple[type[np.generic], Callable[[NDArray[Any]], F32]]

TYPES = {"F32": QuantType.F32, "F16": QuantType.F16, "BF16": QuantType.BF16}
"""The types that both checkpoints and GGUF files have."""


class StoredTensor(Protocol):
    """A tensor of a checkpoint; safe to read from several threads.

    Rows are counted through all axes but the last.
    """

    @property
    def name(self) -> str:
        """The name in the checkpoint, such as "model.norm.weight"."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Outermost axis first."""

    @property
    def type(self) -> QuantType:
        """The type of the rows."""

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows start..stop-1: uint8 [rows, row bytes]."""

    def pick(self, index: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The rows at `index`, in its order: uint8 [len(index), row bytes]."""


@dataclass(frozen=True, eq=False)
class CheckpointTensor:
    """A tensor inside a mapped shard.

    Attributes:
        name: the name in the checkpoint.
        shape: outermost axis first.
        dtype: safetensors' name of the type, such as "BF16".
        data: uint8 [n_bytes], a view of the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: NDArray[np.uint8]

    @property
    def type(self) -> QuantType:
        """F32, F16 or BF16.

        Raises:
            UnsupportedTypeError: the tensor has another type.
        """
        try:
            return TYPES[self.dtype]
        except KeyError:
            raise UnsupportedTypeError(
                f"tensor {self.name!r} is stored as {self.dtype}; quantkit reads "
                f"{', '.join(READERS)}"
            ) from None

    @property
    def n_rows(self) -> int:
        """The number of rows, counted through all axes but the last."""
        return math.prod(self.shape[:-1])

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows start..stop-1: uint8 [rows, row bytes], a view of the file."""
        return self._matrix[start:stop]

    def pick(self, index: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """A copy of the rows at `index`: uint8 [len(index), row bytes]."""
        first, last = (index.min(), index.max()) if len(index) else (0, -1)
        picked: NDArray[np.uint8]
        if last - first > MAX_SPARSITY * len(index):
            picked = self._matrix[index]
        else:
            picked = fetched(self._matrix[first : last + 1])[index - first]
        return picked

    @cached_property
    def _matrix(self) -> NDArray[np.uint8]:
        return self.data.reshape(self.n_rows, len(self.data) // max(self.n_rows, 1))

    @cached_property
    def numbers(self) -> NDArray[Any]:
        """The tensor as a NumPy array [rows, columns], a view of the file.

        BF16 and the 8-bit floats are returned as unsigned integers.

        Raises:
            UnsupportedTypeError: quantkit does not support the type.
        """
        number, _ = self._reader
        n_cols = self.shape[-1] if self.shape else 1
        return self.data.view(number).reshape(self.n_rows, n_cols)

    def floats(self, rows: Rows = ALL, columns: Rows = ALL) -> F32:
        """Rows and columns converted to f32 as by PyTorch's `float()`.

        Raises:
            UnsupportedTypeError: quantkit does not support the type.
        """
        _, decode = self._reader
        return decode(self.numbers[rows][:, columns])

    @property
    def _reader(self) -> Reader:
        try:
            return READERS[self.dtype]
        except KeyError:
            raise UnsupportedTypeError(
                f"tensor {self.name!r} is stored as {self.dtype}; quantkit reads "
                f"{', '.join(READERS)}"
            ) from None


@dataclass(frozen=True, eq=False)
class DequantizedTensor:
    """A tensor that is computed from stored tensors, a few rows at a time.

    Attributes:
        name: the name that an unquantized checkpoint would use.
        shape: outermost axis first.
        type: the type of the computed rows.
        compute: returns the given rows as a matrix of any NumPy type; safe to call from
            several threads.
        sources: the stored tensors; their pages are released after the last row is
            read.
    """

    name: str
    shape: tuple[int, ...]
    type: QuantType
    compute: Callable[[Rows], NDArray[Any]]
    sources: tuple[CheckpointTensor, ...] = ()

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows start..stop-1: uint8 [rows, row bytes]."""
        rows = self._bytes(slice(start, stop))
        if stop >= math.prod(self.shape[:-1]):
            for source in self.sources:
                release(source.data)
        return rows

    def pick(self, index: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The rows at `index`, in its order: uint8 [len(index), row bytes]."""
        return self._bytes(index)

    def _bytes(self, rows: Rows) -> NDArray[np.uint8]:
        made = np.ascontiguousarray(self.compute(rows))
        return made.view(np.uint8)


@dataclass(frozen=True, eq=False)
class ShardedTensor(DequantizedTensor):
    """A matrix whose rows are in the order of devices.

    Attributes:
        n_shards: the number of devices.
    """

    n_shards: int = 1


def integers_of(tensor: object) -> list[int]:
    """The values of a small tensor of integers, exactly.

    Raises:
        CheckpointError: it is stored as another type.
    """
    sources = tensor.sources if isinstance(tensor, DequantizedTensor) else ()
    if len(sources) != 1 or sources[0].dtype not in ("I32", "I64"):
        name = getattr(tensor, "name", "a tensor")
        raise CheckpointError(
            f"{name} is not stored as integers (I64), which it needs to be; download "
            "the original checkpoint"
        )
    return [int(value) for value in sources[0].numbers.ravel()]


def as_found(tensor: CheckpointTensor) -> StoredTensor:
    """A stored tensor; types other than F32, F16 and BF16 are converted to F32."""
    if tensor.dtype in TYPES or tensor.dtype not in READERS:
        return tensor
    return DequantizedTensor(
        tensor.name, tensor.shape, QuantType.F32, tensor.floats, (tensor,)
    )


def _e4m3() -> F32:
    """The values of E4M3: bias 7, no infinities, NaN if all bits but the sign are 1."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, code & 7
    normal = np.ldexp(1 + mantissa / 8, exponent - 7)
    size = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), normal)
    size[code & 127 == 127] = np.nan
    return np.where(code < 128, size, -size).astype(np.float32)


def _e8m0() -> F32:
    """The values of E8M0: powers of two, bias 127; the last code is NaN."""
    bits = np.arange(256, dtype=np.uint32) << 23
    bits[0], bits[255] = 1 << 22, 0x7FC00000
    return bits.view(np.float32)


E4M3 = _e4m3()
E8M0 = _e8m0()


def _plain(number: type[np.generic]) -> Reader:
    """A reader of a NumPy type, rounding to the nearest f32."""

    def decode(numbers: NDArray[Any]) -> F32:
        with np.errstate(over="ignore"):
            return numbers.astype(np.float32)

    return number, decode


READERS: dict[str, Reader] = {
    "F32": _plain(np.float32),
    "F16": _plain(np.float16),
    "BF16": (np.uint16, lambda x: (x.astype(np.uint32) << 16).view(np.float32)),
    "F64": _plain(np.float64),
    "F8_E4M3": (np.uint8, lambda x: E4M3[x]),
    "F8_E5M2": (
        np.uint8,
        lambda x: (x.astype(np.uint16) << 8).view(np.float16).astype(np.float32),
    ),
    "F8_E8M0": (np.uint8, lambda x: E8M0[x]),
    "I8": _plain(np.int8),
    "I16": _plain(np.int16),
    "I32": _plain(np.int32),
    "I64": _plain(np.int64),
    "U8": _plain(np.uint8),
    "U16": _plain(np.uint16),
    "U32": _plain(np.uint32),
    "U64": _plain(np.uint64),
    "BOOL": _plain(np.uint8),
}
"""safetensors' type name -> NumPy type of the stored numbers, and conversion to f32."""
