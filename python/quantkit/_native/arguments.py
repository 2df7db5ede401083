"""Pass arrays to the C core: the only place that gives it memory.

C believes the sizes that it is told.  So every array goes through `read`, `written` or
`strided`, which check that it holds exactly what C will read or write there: dtype,
shape, layout, alignment, and whether it may be written to.  The core checks again what
it can see (csrc/arrays.h): sizes that overflow, strides, and arrays that overlap.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._core import ffi
from ..errors import ShapeError

__all__ = [
    "BYTE",
    "DOUBLE",
    "FLOAT",
    "INT32",
    "TOKEN",
    "TURN",
    "CType",
    "optional",
    "pointer",
    "read",
    "shape_of",
    "strided",
    "workspace",
    "written",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class CType:
    """What an array for C is made of.

    Attributes:
        dtype: the NumPy dtype, in the machine's byte order.
        array: the C declaration of an array of such items.
        pointer: the C declaration of a pointer to one.
    """

    dtype: np.dtype[Any]
    array: str
    pointer: str

    @classmethod
    def of(cls, dtype: DTypeLike, c_type: str) -> CType:
        """The item with a dtype, and its name in C."""
        return cls(np.dtype(dtype), f"{c_type}[]", f"{c_type} *")


BYTE = CType.of(np.uint8, "uint8_t")
FLOAT = CType.of(np.float32, "float")
DOUBLE = CType.of(np.float64, "double")
INT32 = CType.of(np.int32, "int32_t")
TOKEN = CType.of(np.int64, "int64_t")
TURN = CType.of(np.complex64, "float")


def shape_of(name: str, array: Array, axes: int | None = None) -> tuple[int, ...]:
    """The shape of an array with this number of axes; None: any but 0.

    Raises:
        ShapeError: it is not an array, or has another number of axes.
    """
    if not isinstance(array, np.ndarray) or array.ndim != (axes or array.ndim or 1):
        raise ShapeError(
            f"{name} of a native call is {_described(array)}; expected an array with "
            f"{axes or 'some'} axes"
        )
    return array.shape


def read(kind: CType, name: str, array: Array, shape: tuple[int, ...]) -> object:
    """The memory of an array that C reads, or of a copy that is aligned.

    The memory is valid while the result is alive.

    Args:
        kind: what the array is made of.
        name: the argument, for messages.
        array: C-contiguous.
        shape: the shape that it must have.

    Raises:
        ShapeError: C would not find there what it reads.
    """
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != kind.dtype
        or array.shape != shape
        or not array.flags.c_contiguous
    ):
        raise _unfit(kind, name, array, shape)
    if not array.flags.aligned:  # such as a view of a file
        array = array.copy()
    return ffi.from_buffer(kind.array, array)


def optional(
    kind: CType, name: str, array: Array | None, shape: tuple[int, ...]
) -> object:
    """As `read`, or NULL for None."""
    return ffi.NULL if array is None else read(kind, name, array, shape)


def written(kind: CType, name: str, array: Array, shape: tuple[int, ...]) -> object:
    """As `read`, for an array that C writes: aligned, and not read-only."""
    memory = read(kind, name, array, shape)
    if not array.flags.writeable or not array.flags.aligned:
        raise _unfit(kind, name, array, shape)
    return memory


def strided(
    kind: CType, name: str, array: Array, shape: tuple[int, ...], *, write: bool = False
) -> tuple[object, tuple[int, ...]]:
    """The memory of an array whose rows are contiguous, and apart.

    The caller keeps the array alive.

    Args:
        kind: what the array is made of.
        name: the argument, for messages.
        array: only its last axis must be contiguous.
        shape: the shape that it must have.
        write: whether C writes to it.

    Returns:
        The memory, and the items from one row to the next, for each axis but the last.

    Raises:
        ShapeError: C would not find there what it reads or writes.
    """
    size = kind.dtype.itemsize
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != kind.dtype
        or array.shape != shape
        or not array.flags.aligned
        or (write and not array.flags.writeable)
    ):
        raise _unfit(kind, name, array, shape)
    steps = []
    for axis, step in enumerate(array.strides):
        if shape[axis] <= 1 or not array.size:  # NumPy's strides mean nothing there
            step = size * max(shape[-1], 1) if axis < len(shape) - 1 else size
        if step < 0 or step % size:
            raise _unfit(kind, name, array, shape)
        steps.append(step // size)
    if steps[-1] != 1:
        raise _unfit(kind, name, array, shape)
    return ffi.cast(kind.pointer, array.ctypes.data), tuple(steps[:-1])


def _unfit(kind: CType, name: str, array: object, shape: tuple[int, ...]) -> ShapeError:
    return ShapeError(
        f"{name} of a native call is {_described(array)}; expected {kind.dtype} "
        f"{list(shape)}"
    )


def _described(array: object) -> str:
    """An array's dtype, shape and what is unusual in its layout, or another's class."""
    if not isinstance(array, np.ndarray):
        return f"of type {array.__class__.__name__}"
    flags = array.flags
    unusual = {
        "read-only": not flags.writeable,
        "not aligned": not flags.aligned,
        f"with strides {list(array.strides)}": not flags.c_contiguous,
    }
    words = [f"{array.dtype} {list(array.shape)}", *(w for w in unusual if unusual[w])]
    return ", ".join(words)


def pointer(array: NDArray[np.uint8]) -> object:
    """The memory of an array that this package made itself."""
    return ffi.cast("void *", array.ctypes.data)


class _Memory(threading.local):
    """Memory of a thread, for one call at a time."""

    def __init__(self) -> None:
        self.data = np.empty(0, np.uint8)


_memory = _Memory()


def workspace(n_bytes: int) -> NDArray[np.uint8]:
    """At least `n_bytes` of memory of this thread, valid until its next call."""
    if len(_memory.data) < n_bytes:
        _memory.data = np.empty(n_bytes, np.uint8)
    return _memory.data
