"""Q1_0: 128 weights in 18 bytes.

    d f16 | 16 bytes: bit j of all is weight j's

A weight is d where its bit is set, else -d.  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import F32, U8, bits_of_f16, blocks_of, ordered_sum, value_of_f16

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 128 * 18]."""
    blocks = blocks_of(x, 128)
    scale = ordered_sum(np.abs(blocks)) / np.float32(128)
    bits = np.packbits(blocks >= 0, axis=-1, bitorder="little")
    return np.concatenate([bits_of_f16(scale), bits], axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 128 * 18] -> [rows, cols]."""
    blocks = data.reshape(-1, 18)
    scale = value_of_f16(blocks[:, :2])[:, None]
    bits = np.unpackbits(blocks[:, 2:], axis=-1, bitorder="little")
    return np.where(bits == 1, scale, -scale).reshape(len(data), -1)
