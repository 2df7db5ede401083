"""IQ4_NL: 32 weights in 18 bytes.

    d f16 | 16 bytes: codes 0-15 in the low halves, 16-31 in the high halves

A weight is d * level[code]; see `levels16`.
"""

from __future__ import annotations

import numpy as np

from .levels16 import LEVELS, fit_levels, nearest_level
from .numbers import (
    F32,
    U8,
    bits_of_f16,
    blocks_of,
    ordered_sum,
    reciprocal,
    value_of_f16,
)
from .packing import pack_nibbles, unpack_nibbles
from .search import importance_weights

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 32 * 18]."""
    blocks = blocks_of(x, 32)
    weights = blocks * blocks
    if importance is not None:
        per_block = blocks_of(np.broadcast_to(importance, x.shape), 32)
        mean_square = ordered_sum(weights) * np.float32(2 / 32)
        weights = importance_weights(blocks, per_block, mean_square)
    scale = fit_levels(blocks, weights)
    codes = nearest_level(reciprocal(scale)[:, None] * blocks)
    packed = np.concatenate([bits_of_f16(scale), pack_nibbles(codes)], axis=-1)
    return packed.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 32 * 18] -> [rows, cols]."""
    blocks = data.reshape(-1, 18)
    levels = LEVELS[unpack_nibbles(blocks[:, 2:])]
    return (value_of_f16(blocks[:, :2])[:, None] * levels).reshape(len(data), -1)
