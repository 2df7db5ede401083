"""Q5_0: 32 weights in 22 bytes.

    d f16 | 32 fifth bits | 16 bytes: low halves codes 0-15, high halves 16-31

A weight is d * (code - 16).
"""

from __future__ import annotations

import numpy as np

from .blocks32 import symmetric_codes
from .numbers import F32, U8, bits_of_f16, value_of_f16
from .packing import pack_fifth_bits, pack_nibbles, unpack_fifth_bits, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 22]."""
    scale, codes = symmetric_codes(x, 16, importance)
    parts = [bits_of_f16(scale), pack_fifth_bits(codes), pack_nibbles(codes & 15)]
    return np.concatenate(parts, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 22] -> [rows, cols]."""
    blocks = data.reshape(-1, 22)
    codes = unpack_nibbles(blocks[:, 6:]) | unpack_fifth_bits(blocks[:, 2:6])
    centred = codes.astype(np.float32) - 16
    return (centred * value_of_f16(blocks[:, :2])[:, None]).reshape(len(data), -1)
