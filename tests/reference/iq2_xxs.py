"""IQ2_XXS: 256 weights in 66 bytes, in 8 groups of 32.

    d f16 | for each group: 4 bytes, points of 8 weights | a word: 4 times 7 bits of
    signs, 4 bits of scale

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

_SEARCH = GridSearch(6, 0.1, least=1e-15, even=True, refit="all", from_fit=True)
_WORD = (7, 7, 7, 7, 4)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 66]; importance must be given."""
    assert importance is not None
    weights = block_weights(x, importance, 1).reshape(-1, 8, 32)
    fit = fit_on_grid(x.reshape(-1, 8, 32), weights, codebook("IQ2_XXS"), _SEARCH)
    d, scale_codes = odd_scale_codes(fit.scales, 31)
    fields = [fit.signs & 127, scale_codes[..., None]]
    words = join_fields(np.concatenate(fields, axis=-1), _WORD)
    groups = np.concatenate([low_byte(fit.points), words], axis=-1)
    blocks = np.concatenate([bits_of_f16(d), groups.reshape(-1, 64)], axis=-1)
    blocks[d == 0] = 0
    return blocks.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 66] -> [rows, cols]."""
    blocks = data.reshape(-1, 66)
    groups = blocks[:, 2:].reshape(-1, 8, 8)
    fields = split_fields(groups[..., 4:], _WORD)
    scale = half_odd_scales(blocks[:, :2], fields[..., 4], 0.25)
    values = codebook("IQ2_XXS").values[groups[..., :4]].reshape(-1, 8, 32)
    signs = signs_of(even_signs(low_byte(fields[..., :4])))
    return (scale[..., None] * values * signs).reshape(len(data), -1)
