"""IQ2_XS: 256 weights in 74 bytes, in 16 groups of 16.

    d f16 | 32 words of 16 bits: 9 bits, a point of 8 weights, 7 bits of signs
    | 8 bytes: the scales of two groups each

A weight is d / 8 * (2 * scale + 1) * value of the point, with its sign; the number of
negative signs of 8 weights is even.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights
from .codebook import codebook
from .grid_search import (
    GridSearch,
    even_signs,
    fit_on_grid,
    half_odd_scales,
    odd_scale_codes,
    signs_of,
)
from .numbers import F32, U8, bits_of_f16, low_byte
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

_SEARCH = GridSearch(9, 0.1, least=1e-15, even=True)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 74]; importance must be given."""
    assert importance is not None
    weights = block_weights(x, importance, 1).reshape(-1, 16, 16)
    fit = fit_on_grid(x.reshape(-1, 16, 16), weights, codebook("IQ2_XS"), _SEARCH)
    d, scale_codes = odd_scale_codes(fit.scales, 31)
    words = np.stack([fit.points, fit.signs & 127], axis=-1)
    packed = [
        bits_of_f16(d),
        join_fields(words, (9, 7)).reshape(-1, 64),
        join_fields(scale_codes.reshape(-1, 8, 2), (4, 4)).reshape(-1, 8),
    ]
    blocks = np.concatenate(packed, axis=-1)
    blocks[d == 0] = 0
    return blocks.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 74] -> [rows, cols]."""
    blocks = data.reshape(-1, 74)
    words = split_fields(blocks[:, 2:66].reshape(-1, 16, 2, 2), (9, 7))
    scale_codes = split_fields(blocks[:, 66:, None], (4, 4)).reshape(-1, 16)
    scale = half_odd_scales(blocks[:, :2], scale_codes, 0.25)
    values = codebook("IQ2_XS").values[words[..., 0]].reshape(-1, 16, 16)
    signs = signs_of(even_signs(low_byte(words[..., 1])))
    return (scale[..., None] * values * signs).reshape(len(data), -1)
