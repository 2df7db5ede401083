"""Q2_K: 256 weights in 84 bytes, in 16 groups of 16.

    16 bytes: scale in the low half, min in the high half | 64 bytes of codes | d f16
    | dmin f16

A weight is d * scale * code - dmin * min, 0 <= code <= 3.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights, share_step
from .numbers import F32, U8, bits_of_f16, low_byte, ordered_sum, value_of_f16
from .packing import pack_quarters, unpack_quarters
from .search import (
    WEIGHTED_SEARCH,
    MinSearch,
    fit_positive,
    fit_scale_and_min,
    requantize,
)

__all__ = ["dequantize", "quantize"]

_SEARCH = MinSearch(first=-0.5, step=0.1, n_steps=15, absolute=True)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 84]."""
    groups = x.reshape(-1, 16, 16)
    if importance is None:
        scales, mins, codes = fit_scale_and_min(groups, 3, np.abs(groups), _SEARCH)
        d, scale_codes = share_step(scales, 15)
        dmin, min_codes = share_step(mins, 15)
    else:
        weights = block_weights(x, importance, 1).reshape(-1, 16, 16)
        scales, mins, codes = fit_scale_and_min(groups, 3, weights, WEIGHTED_SEARCH)
        d, scale_codes = fit_positive(scales, 15, ordered_sum(weights))
        dmin, min_codes = fit_positive(mins, 15, ordered_sum(weights))
    d_bits, dmin_bits = bits_of_f16(d), bits_of_f16(dmin)
    bytes_ = low_byte(scale_codes | min_codes << 4)
    scale, minimum = _scales(d_bits, dmin_bits, bytes_)
    codes = requantize(groups, scale, minimum, codes, 0, 3)
    parts = [bytes_, pack_quarters(codes), d_bits, dmin_bits]
    return np.concatenate(parts, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 84] -> [rows, cols]."""
    blocks = data.reshape(-1, 84)
    codes = unpack_quarters(blocks[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    scale, minimum = _scales(blocks[:, 80:82], blocks[:, 82:], blocks[:, :16])
    return (codes * scale[..., None] - minimum[..., None]).reshape(len(data), -1)


def _scales(d_bits: U8, dmin_bits: U8, bytes_: U8) -> tuple[F32, F32]:
    """The scale and minimum of each group, as stored."""
    scale = value_of_f16(d_bits)[:, None] * (bytes_ & 15).astype(np.float32)
    minimum = value_of_f16(dmin_bits)[:, None] * (bytes_ >> 4).astype(np.float32)
    return scale, minimum
