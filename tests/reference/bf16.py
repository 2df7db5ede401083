"""BF16: the upper half of a float32, rounded to nearest even."""

from __future__ import annotations

import numpy as np

from .numbers import F32, U8

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, 2 * cols]."""
    bits = x.view(np.uint32)
    is_odd = (bits >> 16) & 1
    return ((bits + 0x7FFF + is_odd) >> 16).astype("<u2").view(np.uint8)


def dequantize(data: U8) -> F32:
    """[rows, 2 * cols] -> [rows, cols]."""
    return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
