"""Arrays beside memory that cannot be touched: one byte too far ends the process."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

__all__ = ["guarded", "needs_guards"]

PAGE = mmap.PAGESIZE
PROT_NONE = 0


def needs_guards() -> None:
    """Skip the test where pages cannot be protected this way."""
    if not hasattr(mmap, "PROT_READ"):
        pytest.skip("this system has no mprotect")


def guarded(
    shape: int | tuple[int, ...], dtype: DTypeLike, *, before: bool = False
) -> NDArray[Any]:
    """An array that ends where an untouchable page begins, or begins after one."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    item = np.dtype(dtype)
    n_bytes = math.prod(sizes) * item.itemsize
    room = -(-n_bytes // PAGE) * PAGE
    pages = mmap.mmap(-1, room + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    for guard in (start, start + PAGE + room):
        address, size = ctypes.c_void_p(guard), ctypes.c_size_t(PAGE)
        assert libc.mprotect(address, size, PROT_NONE) == 0, ctypes.get_errno()
    offset = PAGE + (0 if before else room - n_bytes)
    return np.frombuffer(pages, item, math.prod(sizes), offset).reshape(sizes)
