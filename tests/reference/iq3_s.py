"""IQ3_S: 256 weights in 110 bytes, in 8 groups of 32.

    d f16 | 64 bytes: low bits of points of 4 weights | 8 bytes: their high bits
    | 32 bytes of signs | 4 bytes: the scales of two groups each

A weight is d * (2 * scale + 1) * value of the point, with its sign.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights
from .codebook import codebook
from .grid_search import GridSearch, fit_on_grid, odd_scale_codes, signs_of
from .numbers import F32, U8, bits_of_f16, low_byte, value_of_f16
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

_SEARCH = GridSearch(9, 0.2, least=0, refit="group")


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 110].

    llama.cpp leaves no room for the points and signs of an empty group: those of the
    groups after it move up, all but the points' high bits.
    """
    groups = x.reshape(-1, 8, 32)
    weights = groups * groups
    if importance is not None:
        weights = block_weights(x, importance, 2).reshape(-1, 8, 32)
    fit = fit_on_grid(groups, weights, codebook("IQ3_S"), _SEARCH)
    d, scale_codes = odd_scale_codes(fit.scales, 31)
    order = np.argsort(fit.is_empty, axis=-1, kind="stable")[..., None]
    low = np.take_along_axis(low_byte(fit.points), order, axis=1)
    signs = np.take_along_axis(fit.signs, order, axis=1)
    packed = [
        bits_of_f16(d * np.float32(1.033)),
        low.reshape(-1, 64),
        join_fields(fit.points >> 8, (1,) * 8).reshape(-1, 8),
        signs.reshape(-1, 32),
        join_fields(scale_codes.reshape(-1, 4, 2), (4, 4)).reshape(-1, 4),
    ]
    return np.concatenate(packed, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 110] -> [rows, cols]."""
    blocks = data.reshape(-1, 110)
    high = split_fields(blocks[:, 66:74, None], (1,) * 8).reshape(-1, 64)
    points = blocks[:, 2:66] | high << 8
    scale_codes = split_fields(blocks[:, 106:, None], (4, 4)).reshape(-1, 8)
    odd = (2 * scale_codes + 1).astype(np.float32)
    scale = value_of_f16(blocks[:, :2])[:, None] * odd
    values = codebook("IQ3_S").values[points].reshape(-1, 8, 32)
    signs = signs_of(blocks[:, 74:106]).reshape(-1, 8, 32)
    return (scale[..., None] * values * signs).reshape(len(data), -1)
