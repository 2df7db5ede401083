"""IQ3_XXS: 256 weights in 98 bytes, in 8 groups of 32.

    d f16 | 64 bytes: points of 4 weights | for each group a word: 4 times 7 bits of
    signs, 4 bits of scale

A weight is d / 4 * (2 * scale + 1) * value of the point, with its sign; the number of
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

_SEARCH = GridSearch(15, 0.2, least=1e-8, even=True)
_WORD = (7, 7, 7, 7, 4)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 98]."""
    groups = x.reshape(-1, 8, 32)
    weights = groups * groups
    if importance is not None:
        weights = block_weights(x, importance, 2).reshape(-1, 8, 32)
    fit = fit_on_grid(groups, weights, codebook("IQ3_XXS"), _SEARCH)
    d, scale_codes = odd_scale_codes(fit.scales, 31)
    fields = [fit.signs & 127, scale_codes[..., None]]
    packed = [
        bits_of_f16(d * np.float32(1.0125)),
        low_byte(fit.points).reshape(-1, 64),
        join_fields(np.concatenate(fields, axis=-1), _WORD).reshape(-1, 32),
    ]
    blocks = np.concatenate(packed, axis=-1)
    blocks[d == 0] = 0
    return blocks.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 98] -> [rows, cols]."""
    blocks = data.reshape(-1, 98)
    fields = split_fields(blocks[:, 66:].reshape(-1, 8, 4), _WORD)
    scale = half_odd_scales(blocks[:, :2], fields[..., 4], 0.5)
    values = codebook("IQ3_XXS").values[blocks[:, 2:66]].reshape(-1, 8, 32)
    signs = signs_of(even_signs(low_byte(fields[..., :4])))
    return (scale[..., None] * values * signs).reshape(len(data), -1)
