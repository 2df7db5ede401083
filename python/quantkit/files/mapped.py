"""Memory-mapped files, and reading parts of them without touching the map.

A view of a mapped file costs nothing until it is accessed, so tensors are views.  But
accessed pages count as resident memory, and with large folios the system may map
megabytes around each.  Code that reads a tensor once, slab by slab, uses `fetched`, so
that memory does not grow with the file.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from weakref import WeakKeyDictionary, finalize

import numpy as np
from numpy.typing import NDArray

__all__ = ["fetched", "mapped", "release"]

Bytes = NDArray[np.uint8]

_FILES: WeakKeyDictionary[mmap.mmap, int] = WeakKeyDictionary()
"""The file descriptor of each map, closed with the map."""


def mapped(path: str | Path) -> mmap.mmap:
    """Map a file for reading.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is empty.
    """
    with open(path, "rb") as file:
        owner = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(os, "preadv"):
            _FILES[owner] = descriptor = os.dup(file.fileno())
            finalize(owner, os.close, descriptor)
    return owner


def fetched(rows: Bytes) -> Bytes:
    """Read the bytes of a view of a mapped file from the file, without the map.

    Args:
        rows: a contiguous array; returned unchanged if it is not such a view.
    """
    owner = _map_of(rows)
    file = None if owner is None else _FILES.get(owner)
    if owner is None or file is None or not rows.size:
        return rows
    copy = np.empty(rows.shape, np.uint8)
    left = copy.reshape(-1).data
    place = _place(rows, owner)
    while n_read := os.preadv(file, [left], place):
        left, place = left[n_read:], place + n_read
    if left:
        raise OSError("a mapped file was truncated while it was read")
    return copy


def release(rows: Bytes) -> None:
    """Release the pages of a mapped file that are completely inside `rows`.

    Does nothing for an array that is not a view of a map, and without `madvise`.
    """
    owner = _map_of(rows)
    if owner is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    begin = _place(rows, owner)
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (begin + rows.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        owner.madvise(mmap.MADV_DONTNEED, first, last - first)


def _map_of(rows: Bytes) -> mmap.mmap | None:
    """The map that an array is a view of, or None."""
    owner: object = rows
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) else None


def _place(rows: Bytes, owner: mmap.mmap) -> int:
    """The offset of a view in its map."""
    origin: int = np.frombuffer(owner, np.uint8, count=1).ctypes.data
    return rows.ctypes.data - origin
