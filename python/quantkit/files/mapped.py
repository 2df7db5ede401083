"""Memory-mapped files, and reading parts of them without touching the map.

A view of a mapped file costs nothing until it is accessed, so tensors are views.  But
accessed pages count as resident memory, and with large folios the system may map
megabytes around each.  Code that reads a tensor once, slab by slab, uses `fetched`, so
that memory does not grow with the file.

A file may change while it is mapped.  Pages that cannot be read any more become zeros
(see `Guard`), so whoever used a file calls `refuse_changed` before its results are
used.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary, finalize

import numpy as np
from numpy.typing import NDArray

from .._native import Guard
from ..errors import FormatError
from .identity import is_unchanged, state_text
from .inputs import open_regular

__all__ = ["fetched", "mapped", "path_of", "refuse_changed", "release", "state_of"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Opened:
    """A mapped file.

    Attributes:
        path: where it was opened.
        state: when it was opened.
        file: its descriptor, closed with the map; None: the system has no `preadv`.
        guard: counts the pages that could not be read.
    """

    path: Path
    state: os.stat_result
    file: int | None
    guard: Guard


_FILES: WeakKeyDictionary[mmap.mmap, _Opened] = WeakKeyDictionary()


def mapped(path: str | Path) -> mmap.mmap:
    """Map a file for reading.

    Raises:
        FormatError: it is a FIFO or a device.
        OSError: it cannot be read.
        ValueError: it is empty.
    """
    with open_regular(Path(path)) as file:
        state = os.fstat(file.fileno())
        owner = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        descriptor = None
        if hasattr(os, "preadv"):
            descriptor = os.dup(file.fileno())
            finalize(owner, os.close, descriptor)
        _FILES[owner] = _Opened(Path(path), state, descriptor, Guard(owner))
    return owner


def path_of(view: Bytes) -> Path:
    """The path of the mapped file that an array is a view of."""
    return _opened_by(view).path


def state_of(view: Bytes) -> str:
    """The state of a mapped file when it was mapped, see `state_text`."""
    opened = _opened_by(view)
    return state_text(opened.path, opened.state)


def refuse_changed(view: Bytes) -> None:
    """Check that a mapped file is still what was mapped, and that it could be read.

    Another file may have taken its name meanwhile; the mapped one is read on.

    Raises:
        FormatError: it was written to or truncated, or the disk failed.
    """
    opened = _opened_by(view)
    at = opened.path if opened.file is None else opened.file
    if not is_unchanged(opened.path, opened.state, os.stat(at)):
        raise _changed(opened)
    if opened.guard.n_faults:
        raise FormatError(
            f"{opened.path} cannot be read; the disk or the network has failed"
        )


def fetched(rows: Bytes) -> Bytes:
    """Read the bytes of a view of a mapped file from the file, without the map.

    Args:
        rows: a contiguous array; returned unchanged if it is not such a view.

    Raises:
        FormatError: the file was truncated.
        OSError: the file cannot be read.
    """
    owner = _map_of(rows)
    opened = None if owner is None else _FILES.get(owner)
    if owner is None or opened is None or opened.file is None or not rows.size:
        return rows
    copy = np.empty(rows.shape, np.uint8)
    left = copy.reshape(-1).data
    place = _place(rows, owner)
    try:
        while n_read := os.preadv(opened.file, [left], place):
            left, place = left[n_read:], place + n_read
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(opened.path)) from error
    if left:
        raise _changed(opened)
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


def _changed(opened: _Opened) -> FormatError:
    return FormatError(
        f"{opened.path} changed while it was read; start again when nothing writes to "
        "it any more"
    )


def _opened_by(view: Bytes) -> _Opened:
    owner = _map_of(view)
    assert owner is not None  # callers pass views of maps only
    return _FILES[owner]


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
