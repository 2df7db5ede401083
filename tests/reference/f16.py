"""F16: IEEE half precision, rounded to nearest even."""

from __future__ import annotations

import numpy as np

from .numbers import F32, U8

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, 2 * cols]."""
    return x.astype("<f2").view(np.uint8)


def dequantize(data: U8) -> F32:
    """[rows, 2 * cols] -> [rows, cols]."""
    return data.view("<f2").astype(np.float32)
