"""Q4_1: 32 weights in 20 bytes.

    d f16 | m f16 | 16 bytes: codes 0-15 in the low halves, 16-31 in the high halves

A weight is d * code + m.
"""

from __future__ import annotations

import numpy as np

from .blocks32 import min_codes
from .numbers import F32, U8, bits_of_f16, low_byte, value_of_f16
from .packing import pack_nibbles, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 20]."""
    scale, low, codes = min_codes(x, 15, importance)
    codes = np.minimum(low_byte(codes).view(np.int8).astype(np.int32), 15)
    parts = [bits_of_f16(scale), bits_of_f16(low), pack_nibbles(codes)]
    return np.concatenate(parts, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 20] -> [rows, cols]."""
    blocks = data.reshape(-1, 20)
    codes = unpack_nibbles(blocks[:, 4:]).astype(np.float32)
    scale, low = value_of_f16(blocks[:, :2]), value_of_f16(blocks[:, 2:4])
    return (codes * scale[:, None] + low[:, None]).reshape(len(data), -1)
