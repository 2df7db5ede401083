"""TQ1_0: 256 weights in 54 bytes.

    32 bytes: codes m + 32n of 0-159 | 16 bytes: codes m + 16n of 160-239
    | 4 bytes: codes m + 4n of 240-255 | d f16

A byte m holds the codes of all n, five (the last four bytes: four) digits of base 3,
first digit first, as a fraction: digits * 256 / 243, rounded up.  A weight is
d * (code - 1).  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import F32, I32, U8, bits_of_f16, blocks_of, low_byte, value_of_f16
from .ternary import ternary_codes

__all__ = ["dequantize", "quantize"]

# first byte, bytes, first code, digits
_PARTS = ((0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4))


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 54]."""
    scale, codes = ternary_codes(blocks_of(x, 256))
    packed = [
        _pack(
            codes[:, first : first + n_bytes * n_digits].reshape(-1, n_digits, n_bytes)
        )
        for _, n_bytes, first, n_digits in _PARTS
    ]
    return np.concatenate([*packed, bits_of_f16(scale)], axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 54] -> [rows, cols]."""
    blocks = data.reshape(-1, 54)
    codes = [
        _unpack(blocks[:, start : start + n_bytes], n_digits)
        for start, n_bytes, _, n_digits in _PARTS
    ]
    centred = np.concatenate(codes, axis=-1).astype(np.float32) - 1
    return (centred * value_of_f16(blocks[:, 52:])[:, None]).reshape(len(data), -1)


def _pack(digits: I32) -> U8:
    """[n, digits, bytes] -> [n, bytes]."""
    number = np.zeros(digits[:, 0].shape, np.int32)
    for i in range(5):
        number = 3 * number + (digits[:, i] if i < digits.shape[1] else 0)
    return low_byte((number * 256 + 242) // 243)


def _unpack(data: U8, n_digits: int) -> U8:
    """[n, bytes] -> [n, digits * bytes]: a digit is the whole part of 3 * fraction."""
    fractions = [low_byte(data.astype(np.int32) * 3**i) for i in range(n_digits)]
    return low_byte(np.concatenate(fractions, axis=-1).astype(np.int32) * 3 >> 8)
