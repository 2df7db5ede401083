"""Pages of mapped files given back once they are read.

A mapped model counts as resident as far as it was read.  Giving pages back keeps the
resident memory of a run at a few slabs; nothing is lost, for the file still has them.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

__all__ = ["release"]


def release(rows: NDArray[np.uint8]) -> None:
    """Give back the pages of a mapped file that lie wholly within `rows`.

    An array that is no view of a map is left alone, as are systems without `madvise`.
    """
    owner: object = rows
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    origin = np.frombuffer(owner, np.uint8, count=1).ctypes.data
    begin = rows.ctypes.data - origin
    end = begin + rows.nbytes
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    last = end // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        owner.madvise(mmap.MADV_DONTNEED, first, last - first)
