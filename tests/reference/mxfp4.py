"""MXFP4: 32 weights in 17 bytes.

    e uint8 | 16 bytes: codes 0-15 in the low halves, 16-31 in the high halves

A weight is 2 ** (e - 128) * level[code].  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import F32, U8, blocks_of, first_peak, low_byte, truncate
from .packing import pack_nibbles, unpack_nibbles

__all__ = ["dequantize", "quantize"]

LEVELS: F32 = np.array(
    [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32
)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 17]."""
    blocks = blocks_of(x, 32)
    peak = np.abs(first_peak(blocks))
    # log2 rounded to f32: it is a whole number also just below a large power of two.
    logarithm = np.log2(peak.astype(np.float64)).astype(np.float32)
    exponent = truncate(np.floor(logarithm)) + 125
    code = low_byte(np.where(peak > 0, exponent, 0))[:, None]
    errors = np.abs(LEVELS * _scale(code)[..., None] - blocks[..., None])
    codes = errors.argmin(axis=-1).astype(np.int32)
    packed = np.concatenate([code, pack_nibbles(codes)], axis=-1)
    return packed.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 17] -> [rows, cols]."""
    blocks = data.reshape(-1, 17)
    levels = LEVELS[unpack_nibbles(blocks[:, 1:])]
    return (levels * _scale(blocks[:, :1])).reshape(len(data), -1)


def _scale(e: U8) -> F32:
    """2 ** (e - 128), exactly: the two smallest are subnormal."""
    return np.ldexp(np.float32(1), e.astype(np.int32) - 128)
