"""Keep freed memory for the next array, where the C library can be told to.

A forward pass makes and frees thousands of arrays of a few MiB.  glibc returns such
memory to the system at once, and gets it back page by page, each set to zero: a seventh
of the CPU time of a comparison of a small model's types.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3

MAPPED_BYTES = 32 << 20
"""Larger arrays are still returned at once; the highest threshold glibc accepts."""

KEPT_BYTES = 256 << 20
"""What each thread keeps at most at the end of its memory."""


@cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory, for the rest of the process.

    Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p
        libc.gnu_get_libc_version()  # other libraries have no such function
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
