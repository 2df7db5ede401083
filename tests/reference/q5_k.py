"""Q5_K: 256 weights in 176 bytes, in 8 groups of 32.

    d f16 | dmin f16 | 12 bytes of scales and mins | 32 bytes: bit g of byte l is the
    fifth bit of code l + 32g | 128 bytes of codes as in Q4_K

A weight is d * scale * code - dmin * min, 0 <= scale, min <= 63, 0 <= code <= 31.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import scales_as_stored, scales_mins_and_codes
from .numbers import F32, U8
from .packing import pack_nibbles, unpack_nibbles
from .search import MinSearch

__all__ = ["dequantize", "quantize"]

_SEARCH = MinSearch(first=-0.5, step=0.1, n_steps=15)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 176]."""
    head, codes = scales_mins_and_codes(x, 31, importance, _SEARCH, max_code=63)
    is_high = (codes > 15).astype(np.uint8)
    high_bits = np.packbits(is_high, axis=1, bitorder="little").reshape(-1, 32)
    nibbles = pack_nibbles((codes & 15).reshape(-1, 4, 64)).reshape(-1, 128)
    return np.concatenate([head, high_bits, nibbles], axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 176] -> [rows, cols]."""
    blocks = data.reshape(-1, 176)
    high = np.unpackbits(blocks[:, None, 16:48], axis=1, bitorder="little")
    nibbles = unpack_nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    codes = (nibbles | high << 4).astype(np.float32)
    scale, minimum = scales_as_stored(blocks[:, :16])
    return (codes * scale[..., None] - minimum[..., None]).reshape(len(data), -1)
