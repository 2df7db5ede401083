"""Memory of the current device for arrays of main memory, without a library of arrays.

Copies are queued on the default stream, in the order of the calls.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from .._native.arguments import CType, read, written
from .arguments import memory
from .loading import library
from .statuses import check_status

__all__ = [
    "allocated",
    "copy_from_device",
    "copy_to_device",
    "free_bytes",
    "wait_for_device",
]


@contextmanager
def allocated(n_bytes: int) -> Iterator[int]:
    """The address of new memory.

    Raises:
        BackendError: there is not so much.
    """
    own = library()
    made = own.ffi.new("void **")
    status = own.lib.qkc_malloc(max(n_bytes, 1), made)
    check_status(status, "qkc_malloc", f"{n_bytes} bytes")
    try:
        yield int(own.ffi.cast("uintptr_t", made[0]))
    finally:
        own.lib.qkc_free(made[0])


def free_bytes(wanted: int) -> int:
    """Bytes of memory that nobody has.

    Args:
        wanted: if there are fewer, CuPy gives back what it keeps for later arrays.
    """
    free, cupy = _free_bytes(), sys.modules.get("cupy")
    if free < wanted and cupy is not None:
        cupy.get_default_memory_pool().free_all_blocks()
        free = _free_bytes()
    return free


def _free_bytes() -> int:
    own = library()
    free = own.ffi.new("size_t *")
    check_status(own.lib.qkc_free_bytes(free), "qkc_free_bytes", "the device")
    return int(free[0])


def copy_to_device(kind: CType, array: NDArray[Any], address: int) -> None:
    """Queue a copy of an array.

    Raises:
        ShapeError: the array is not contiguous, or is made of something else.
    """
    source = read(kind, "array", array, array.shape)
    _copy(memory(address), source, array.nbytes)


def copy_from_device(kind: CType, array: NDArray[Any], address: int) -> None:
    """Queue a copy into an array.

    Raises:
        ShapeError: the array is not contiguous, or is made of something else.
    """
    target = written(kind, "array", array, array.shape)
    _copy(target, memory(address), array.nbytes)


def _copy(target: object, source: object, n_bytes: int) -> None:
    own = library()
    status = own.lib.qkc_copy(target, source, n_bytes, own.ffi.NULL)
    check_status(status, "qkc_copy", f"{n_bytes} bytes")


def wait_for_device(what: str) -> None:
    """Wait for all that is queued on the default stream.

    Raises:
        BackendError: something of it failed.
    """
    own = library()
    check_status(own.lib.qkc_synchronize(own.ffi.NULL), "qkc_synchronize", what)
