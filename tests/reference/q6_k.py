"""Q6_K: 256 weights in 210 bytes, in 16 groups of 16.

    128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 scales int8 | d f16

Of each 128 codes, byte l (0-31) of 64 holds the low bits of codes l and l + 64, byte
32 + l those of codes l + 32 and l + 96.  A weight is d * scale * (code - 32).
"""

from __future__ import annotations

import numpy as np

from .numbers import (
    F32,
    U8,
    bits_of_f16,
    first_peak,
    low_byte,
    nearest_int,
    value_of_f16,
)
from .packing import pack_nibbles, pack_quarters, unpack_nibbles, unpack_quarters
from .search import fit_scale, requantize

__all__ = ["dequantize", "quantize"]

_NO_SCALE = np.float32(1e-15)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 210]."""
    groups = x.reshape(-1, 16, 16)
    if importance is None:
        weights = groups * groups
    else:
        weights = np.broadcast_to(importance, x.shape).reshape(-1, 16, 16)
    scales, codes = fit_scale(groups, 32, weights)
    peak = first_peak(scales)
    inverse = np.float32(-128) / peak
    d_bits = bits_of_f16(np.float32(1) / inverse)
    scale_codes = np.minimum(nearest_int(inverse[:, None] * scales), 127)
    packed_scales = low_byte(scale_codes)
    scale = _scales(d_bits, packed_scales)
    codes = requantize(groups, scale, np.zeros_like(scale), codes, -32, 31)
    halves = codes.reshape(-1, 2, 128)
    low = pack_nibbles(halves & 15).reshape(-1, 128)
    packed = [low, pack_quarters(codes >> 4), packed_scales, d_bits]
    blocks = np.concatenate(packed, axis=-1)
    blocks[np.abs(peak) < _NO_SCALE] = 0
    return blocks.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 210] -> [rows, cols]."""
    blocks = data.reshape(-1, 210)
    low = unpack_nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 256)
    codes = low | unpack_quarters(blocks[:, 128:192]) << 4
    centred = codes.reshape(-1, 16, 16).astype(np.float32) - 32
    scale = _scales(blocks[:, 208:], blocks[:, 192:208])
    return (centred * scale[..., None]).reshape(len(data), -1)


def _scales(d_bits: U8, packed: U8) -> F32:
    """The scale of each group, as stored."""
    return value_of_f16(d_bits)[:, None] * packed.view(np.int8).astype(np.float32)
