"""Q3_K: 256 weights in 110 bytes, in 16 groups of 16.

    32 bytes: bit h of byte l is the third bit of code l + 32h | 64 bytes: the low bits
    | 12 bytes of scales | d f16

A weight is d * (scale - 32) * (code - 4), 0 <= scale <= 63, 0 <= code <= 7.
"""

from __future__ import annotations

import numpy as np

from .blocks256 import block_weights
from .numbers import (
    F32,
    I32,
    U8,
    bits_of_f16,
    first_peak,
    low_byte,
    nearest_int,
    ordered_sum,
    value_of_f16,
)
from .packing import pack_quarters, unpack_quarters
from .search import fit_scale, fit_scale_by_exchange, requantize

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 110]."""
    groups = x.reshape(-1, 16, 16)
    if importance is None:
        scales, codes = fit_scale_by_exchange(groups, 4)
        d, scale_codes = _share(scales)
    else:
        weights = block_weights(x, importance, 2).reshape(-1, 16, 16)
        scales, codes = fit_scale(groups, 4, weights)
        d, scale_codes = fit_scale(scales, 32, ordered_sum(weights))
    d_bits, packed_scales = bits_of_f16(d), _pack_scales(scale_codes)
    scale = _scales(d_bits, packed_scales)
    codes = requantize(groups, scale, np.zeros_like(scale), codes, -4, 3)
    codes = codes.reshape(-1, 256)
    high = (codes > 3).reshape(-1, 8, 32).astype(np.uint8)
    high_bits = np.packbits(high, axis=1, bitorder="little").reshape(-1, 32)
    low = np.where(codes > 3, codes - 4, codes)
    parts = [high_bits, pack_quarters(low), packed_scales, d_bits]
    return np.concatenate(parts, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 110] -> [rows, cols]."""
    blocks = data.reshape(-1, 110)
    high = np.unpackbits(blocks[:, None, :32], axis=1, bitorder="little")
    codes = unpack_quarters(blocks[:, 32:96]) | high.reshape(-1, 256) << 2
    centred = codes.reshape(-1, 16, 16).astype(np.float32) - 4
    scale = _scales(blocks[:, 108:], blocks[:, 96:108])
    return (centred * scale[..., None]).reshape(len(data), -1)


def _share(scales: F32) -> tuple[F32, I32]:
    """A step shared by the 16 scales of a block, and codes 0..63 for -32..31."""
    peak = first_peak(scales)
    inverse = np.float32(-32) / peak
    wrapped = low_byte(nearest_int(inverse[:, None] * scales)).view(np.int8)
    codes = np.clip(wrapped.astype(np.int32), -32, 31) + 32
    has_any = peak != 0
    step = np.where(has_any, np.float32(1) / inverse, np.float32(0))
    return step, np.where(has_any[:, None], codes, 0)


def _pack_scales(codes: I32) -> U8:
    """16 codes of 6 bits -> 12 bytes.

    Low halves of codes 0-7 and 8-15 are the halves of bytes 0-7; upper bits of code
    4k + j are bits 2k of byte 8 + j.
    """
    low = codes[:, :8] & 15 | (codes[:, 8:] & 15) << 4
    upper = codes.reshape(-1, 4, 4) >> 4 << np.array([0, 2, 4, 6])[:, None]
    return low_byte(np.concatenate([low, upper.sum(axis=1)], axis=-1))


def _scales(d_bits: U8, packed: U8) -> F32:
    """The scale of each group, as stored."""
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=-1)
    upper = packed[:, None, 8:] >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    codes = low | upper.reshape(-1, 16) << 4
    scales: F32 = value_of_f16(d_bits)[:, None] * (codes.astype(np.float32) - 32)
    return scales
