"""IQ4_XS: 256 weights in 136 bytes, in 8 groups of 32.

    d f16 | 2 bytes: upper 2 bits of 8 scales | 4 bytes: their lower 4 bits
    | 8 times 16 bytes of codes, each as in IQ4_NL

A weight is d * (scale - 32) * level[code], 0 <= scale <= 63; see `levels16`.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights
from .levels16 import LEVELS, fit_levels, nearest_level
from .numbers import (
    F32,
    I32,
    U8,
    bits_of_f16,
    first_peak,
    low_byte,
    nearest_int,
    reciprocal,
    value_of_f16,
)
from .packing import pack_nibbles, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 136]."""
    groups = x.reshape(-1, 8, 32)
    weights = groups * groups
    if importance is not None:
        weights = block_weights(x, importance, 2).reshape(-1, 8, 32)
    scales = fit_levels(groups, weights)
    d = -first_peak(scales) / np.float32(32)
    wanted = nearest_int(reciprocal(d)[:, None] * scales)
    scale_codes = np.clip(wanted, -32, 31)
    stored = d[:, None] * scale_codes.astype(np.float32)
    codes = nearest_level(reciprocal(stored)[..., None] * groups)
    packed = [
        bits_of_f16(d),
        _pack_scales(scale_codes + 32),
        pack_nibbles(codes).reshape(-1, 128),
    ]
    return np.concatenate(packed, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 136] -> [rows, cols]."""
    blocks = data.reshape(-1, 136)
    scales = _unpack_scales(blocks[:, 2:8]).astype(np.float32) - 32
    scale = value_of_f16(blocks[:, :2])[:, None] * scales
    levels = LEVELS[unpack_nibbles(blocks[:, 8:].reshape(-1, 8, 16))]
    return (scale[..., None] * levels).reshape(len(data), -1)


def _pack_scales(codes: I32) -> U8:
    """8 codes of 6 bits -> 6 bytes."""
    quads = (codes >> 4).reshape(-1, 2, 4) << np.array([0, 2, 4, 6])
    pairs = (codes & 15).reshape(-1, 4, 2) << np.array([0, 4])
    return low_byte(np.concatenate([quads.sum(axis=-1), pairs.sum(axis=-1)], axis=-1))


def _unpack_scales(data: U8) -> U8:
    upper = data[:, :2, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    lower = data[:, 2:, None] >> np.array([0, 4], np.uint8) & 15
    return lower.reshape(-1, 8) | upper.reshape(-1, 8) << np.uint8(4)
