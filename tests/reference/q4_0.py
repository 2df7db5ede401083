"""Q4_0: 32 weights in 18 bytes.

    d f16 | 16 bytes: codes 0-15 in the low halves, 16-31 in the high halves

A weight is d * (code - 8).
"""

from __future__ import annotations

import numpy as np

from .blocks32 import symmetric_codes
from .numbers import F32, U8, bits_of_f16, value_of_f16
from .packing import pack_nibbles, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 18]."""
    scale, codes = symmetric_codes(x, 8, importance)
    packed = np.concatenate([bits_of_f16(scale), pack_nibbles(codes)], axis=-1)
    return packed.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 18] -> [rows, cols]."""
    blocks = data.reshape(-1, 18)
    codes = unpack_nibbles(blocks[:, 2:]).astype(np.float32) - 8
    return (codes * value_of_f16(blocks[:, :2])[:, None]).reshape(len(data), -1)
