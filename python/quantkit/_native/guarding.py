"""Memory of mapped files that stays readable if the file is truncated."""

from __future__ import annotations

import mmap
from weakref import finalize

from .._core import ffi, lib

__all__ = ["Guard"]


class Guard:
    """Replaces pages of a map that cannot be read any more by zeros, and counts them.

    Otherwise the first access to such a page would end the process (SIGBUS).  It lasts
    as long as the map.  Windows has no such faults.

    Args:
        memory: the map.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._guard = lib.qk_guard_begin(ffi.from_buffer("char[]", memory), len(memory))
        finalize(memory, lib.qk_guard_end, self._guard)

    @property
    def n_faults(self) -> int:
        """The number of pages that were replaced."""
        return int(lib.qk_guard_faults(self._guard))
