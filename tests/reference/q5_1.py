"""Q5_1: 32 weights in 24 bytes.

    d f16 | m f16 | 32 fifth bits | 16 bytes: low halves codes 0-15, high halves 16-31

A weight is d * code + m.
"""

from __future__ import annotations

import numpy as np

from .blocks32 import min_codes
from .numbers import F32, U8, bits_of_f16, value_of_f16
from .packing import pack_fifth_bits, pack_nibbles, unpack_fifth_bits, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 24]."""
    scale, low, codes = min_codes(x, 31, importance)
    parts = [
        bits_of_f16(scale),
        bits_of_f16(low),
        pack_fifth_bits(codes),
        pack_nibbles(codes & 15),
    ]
    return np.concatenate(parts, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 24] -> [rows, cols]."""
    blocks = data.reshape(-1, 24)
    codes = unpack_nibbles(blocks[:, 8:]) | unpack_fifth_bits(blocks[:, 4:8])
    scale, low = value_of_f16(blocks[:, :2]), value_of_f16(blocks[:, 2:4])
    weights = codes.astype(np.float32) * scale[:, None] + low[:, None]
    return weights.reshape(len(data), -1)
