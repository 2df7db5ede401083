"""NVFP4: 64 weights in 36 bytes.

    4 bytes: the scale of each 16 weights | 8 bytes for each 16 weights: codes 0-7 in
    the low halves, 8-15 in the high halves

A scale is an unsigned float of 4 exponent bits (bias 7) and 3 mantissa bits, and 0x7f
is 0.  A weight is scale / 2 * level[code].  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .mxfp4 import LEVELS
from .numbers import F32, U8, blocks_of, low_byte
from .packing import pack_nibbles, unpack_nibbles

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 64 * 36]."""
    blocks = blocks_of(x, 16)
    scale = _scale_bytes(np.abs(blocks).max(axis=-1) / np.float32(6))
    values = LEVELS * _half_scale(scale)[:, None]
    codes = np.abs(values[:, None, :] - blocks[..., None]).argmin(axis=-1)
    packed = pack_nibbles(codes.astype(np.int32))
    four = [scale.reshape(-1, 4), packed.reshape(-1, 32)]
    return np.concatenate(four, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 64 * 36] -> [rows, cols]."""
    blocks = data.reshape(-1, 36)
    levels = LEVELS[unpack_nibbles(blocks[:, 4:].reshape(-1, 4, 8))]
    return (levels * _half_scale(blocks[:, :4])[..., None]).reshape(len(data), -1)


def _scale_bytes(a: F32) -> U8:
    """Of numbers >= 0: rounded half up, the largest byte from 2 ** 8 on."""
    mantissa, exponent = np.frexp(a)  # a = mantissa * 2 ** exponent, mantissa < 1
    eighths = np.floor(np.ldexp(mantissa, 4) + np.float32(0.5)).astype(np.int32) - 8
    normal = (exponent.astype(np.int32) + 6) * 8 + eighths
    multiple = np.floor(np.minimum(a, 1) * np.float32(512) + np.float32(0.5))
    subnormal = np.minimum(multiple.astype(np.int32), 7)
    byte = np.where(a < 2.0**-6, subnormal, normal)
    return low_byte(np.where(normal >= 15 << 3, 0x7E, byte))


def _half_scale(byte: U8) -> F32:
    """Half of what a byte stands for, exactly."""
    exponent, mantissa = (byte >> 3 & 15).astype(np.int32), (byte & 7).astype(np.int32)
    whole = np.where(exponent > 0, mantissa + 8, mantissa).astype(np.float32)
    scale = np.ldexp(whole, np.maximum(exponent, 1) - 11)
    return np.where(byte == 0x7F, np.float32(0), scale)
