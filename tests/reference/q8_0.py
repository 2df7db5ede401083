"""Q8_0: 32 weights in 34 bytes.

    d f16 | 32 codes int8

A weight is d * code, -127 <= code <= 127.  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import (
    F32,
    U8,
    bits_of_f16,
    blocks_of,
    first_peak,
    low_byte,
    reciprocal,
    round_away,
    truncate,
    value_of_f16,
)

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 34]."""
    blocks = blocks_of(x, 32)
    scale = np.abs(first_peak(blocks)) / np.float32(127)
    codes = truncate(round_away(blocks * reciprocal(scale)[:, None]))
    packed = np.concatenate([bits_of_f16(scale), low_byte(codes)], axis=-1)
    return packed.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 34] -> [rows, cols]."""
    blocks = data.reshape(-1, 34)
    codes = blocks[:, 2:].view(np.int8).astype(np.float32)
    return (codes * value_of_f16(blocks[:, :2])[:, None]).reshape(len(data), -1)
