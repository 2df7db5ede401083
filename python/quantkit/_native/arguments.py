"""Pass arrays to the C core, and convert its statuses to errors."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import QuantkitError, ShapeError
from ..types import QuantType

__all__ = ["check_type", "floats", "octets", "pointer", "workspace"]


def pointer(array: NDArray[np.uint8]) -> object:
    """The memory of an array with any alignment."""
    return ffi.cast("void *", array.ctypes.data)


def floats(array: NDArray[np.float32]) -> object:
    """The memory of a C-contiguous f32 array; the result keeps the array alive."""
    return ffi.from_buffer("float[]", array)


def octets(array: NDArray[np.uint8]) -> object:
    """The memory of a C-contiguous uint8 array; the result keeps the array alive."""
    return ffi.from_buffer("uint8_t[]", array)


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


def check_type(status: int, type: QuantType, n_cols: int) -> None:
    """Raise the error of a status, for rows of `n_cols` weights of a type."""
    if status == lib.QK_BAD_SHAPE:
        raise ShapeError(
            f"a row of {n_cols} weights does not fit {type.name}'s block "
            f"of {type.block_size}"
        )
    if status == lib.QK_UNKNOWN_PACKING:
        raise QuantkitError(
            f"activations with this packing cannot be multiplied with {type.name} "
            "weights; use packing_for that type"
        )
    if status != lib.QK_OK:
        raise QuantkitError(f"the native core refused {type.name}: status {status}")
