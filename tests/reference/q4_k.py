"""Q4_K: 256 weights in 144 bytes, in 8 groups of 32.

    d f16 | dmin f16 | 12 bytes of scales and mins | 128 bytes: of each 64 codes the
    first 32 in the low halves of 32 bytes, the others in the high halves

A weight is d * scale * code - dmin * min, 0 <= scale, min <= 63, 0 <= code <= 15.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import scales_as_stored, scales_mins_and_codes
from .numbers import F32, U8
from .packing import pack_nibbles, unpack_nibbles
from .search import MinSearch

__all__ = ["dequantize", "quantize"]

_SEARCH = MinSearch(first=-1.0, step=0.1, n_steps=20)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 144]."""
    head, codes = scales_mins_and_codes(x, 15, importance, _SEARCH)
    nibbles = pack_nibbles(codes.reshape(-1, 4, 64)).reshape(-1, 128)
    return np.concatenate([head, nibbles], axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 144] -> [rows, cols]."""
    blocks = data.reshape(-1, 144)
    codes = unpack_nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    scale, minimum = scales_as_stored(blocks[:, :16])
    weights = codes.astype(np.float32) * scale[..., None] - minimum[..., None]
    return weights.reshape(len(data), -1)
