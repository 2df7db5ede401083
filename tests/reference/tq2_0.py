"""TQ2_0: 256 weights in 66 bytes.

    64 bytes: codes of 2 bits, packed as in Q2_K | d f16

A weight is d * (code - 1).  Importance plays no part.
"""

from __future__ import annotations

import numpy as np

from .numbers import F32, U8, bits_of_f16, blocks_of, value_of_f16
from .packing import pack_quarters, unpack_quarters
from .ternary import ternary_codes

__all__ = ["dequantize", "quantize"]


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 66]."""
    scale, codes = ternary_codes(blocks_of(x, 256))
    packed = np.concatenate([pack_quarters(codes), bits_of_f16(scale)], axis=-1)
    return packed.reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 66] -> [rows, cols]."""
    blocks = data.reshape(-1, 66)
    centred = unpack_quarters(blocks[:, :64]).astype(np.float32) - 1
    return (centred * value_of_f16(blocks[:, 64:])[:, None]).reshape(len(data), -1)
