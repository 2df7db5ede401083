"""IQ2_S: 256 weights in 82 bytes, in 16 groups of 16.

    d f16 | 32 bytes: low bits of points of 8 weights | 32 bytes of signs
    | 8 bytes: 2 high bits of four points each | 8 bytes: the scales of two groups each

A weight is d / 8 * (2 * scale + 1) * value of the point, with its sign.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights
from .codebook import codebook
from .grid_search import (
    GridSearch,
    fit_on_grid,
    half_odd_scales,
    odd_scale_codes,
    signs_of,
)
from .numbers import F32, U8, bits_of_f16, blocks_of, low_byte, ordered_sum
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

_SEARCH = GridSearch(9, 0.1, least=1e-8)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 82]."""
    weights = _weights(x, importance).reshape(-1, 16, 16)
    fit = fit_on_grid(x.reshape(-1, 16, 16), weights, codebook("IQ2_S"), _SEARCH)
    d, scale_codes = odd_scale_codes(fit.scales, 31)
    points = fit.points.reshape(-1, 32)
    packed = [
        bits_of_f16(d * np.float32(0.9875)),
        low_byte(points),
        fit.signs.reshape(-1, 32),
        join_fields((points >> 8).reshape(-1, 8, 4), (2, 2, 2, 2)).reshape(-1, 8),
        join_fields(scale_codes.reshape(-1, 8, 2), (4, 4)).reshape(-1, 8),
    ]
    return np.concatenate(packed, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 82] -> [rows, cols]."""
    blocks = data.reshape(-1, 82)
    high = split_fields(blocks[:, 66:74, None], (2, 2, 2, 2)).reshape(-1, 32)
    points = blocks[:, 2:34] | high << 8
    scale_codes = split_fields(blocks[:, 74:, None], (4, 4)).reshape(-1, 16)
    scale = half_odd_scales(blocks[:, :2], scale_codes, 0.25)
    values = codebook("IQ2_S").values[points].reshape(-1, 16, 16)
    signs = signs_of(blocks[:, 34:66]).reshape(-1, 16, 16)
    return (scale[..., None] * values * signs).reshape(len(data), -1)


def _weights(x: F32, importance: F32 | None) -> F32:
    if importance is not None:
        return block_weights(x, importance, 2)
    squares = blocks_of(x, 256) ** 2
    mean = np.float32(2) * ordered_sum(squares) / np.float32(256)
    return np.float32(0.25) * mean[:, None] + squares
