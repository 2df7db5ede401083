"""Q2_0: 64 weights in 18 bytes.

    d f16 | 16 bytes: four codes of 2 bits each, in order, from the low bits up

A weight is d * (code - 1).  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import (
    F32,
    U8,
    bits_of_f16,
    blocks_of,
    reciprocal,
    round_away,
    truncate,
    value_of_f16,
)
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

WIDTHS = (2, 2, 2, 2)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 64 * 18].

    Where 1 / scale is infinite, C rounds to the smallest integer, and codes are 0.
    """
    blocks = blocks_of(x, 64)
    scale = np.abs(blocks).max(axis=-1)
    nearest = truncate(round_away(blocks * reciprocal(scale)[:, None]))
    codes = np.clip(nearest + 1, 0, 3).reshape(-1, 16, 4)
    packed = join_fields(codes, WIDTHS)[..., 0]
    return np.concatenate([bits_of_f16(scale), packed], axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 64 * 18] -> [rows, cols]."""
    blocks = data.reshape(-1, 18)
    codes = split_fields(blocks[:, 2:, None], WIDTHS).reshape(-1, 64)
    scale = value_of_f16(blocks[:, :2])[:, None]
    return ((codes - 1).astype(np.float32) * scale).reshape(len(data), -1)
