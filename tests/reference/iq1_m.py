"""IQ1_M: 256 weights in 56 bytes, in 16 groups of two times 8.

    32 bytes: low bits of points of 8 weights | 16 bytes: for two points each, 3 high
    bits, and 1 if shifted down | 4 words of 16 bits: 4 scales of 3 bits, 4 bits of d

A weight is d * (2 * scale + 1) * (value of the point + or - 1/8).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .blocks256 import block_weights
from .codebook import codebook
from .grid_search import odd_scale_codes
from .iq1 import (
    DELTA,
    DOWN,
    UP,
    best_split,
    fit_three,
    is_flat,
    values_of,
)
from .numbers import F32, I32, U8, bits_of_f16, low_byte, ordered_sum, value_of_f16
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

_HIGH = (3, 1, 3, 1)
_WORD = (3, 3, 3, 3, 4)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 56]."""
    groups = x.reshape(-1, 16)
    weights = groups * groups
    if importance is not None:
        weights = block_weights(x, importance, 2).reshape(-1, 16)
    order = np.argsort(groups, axis=-1, kind="stable")
    split = best_split(16, len(groups), _Sums(groups, weights, order))
    variant = np.where(split.scale < 0, 3 - split.variant, split.variant)
    is_down = np.stack([variant >> 1 & 1, variant & 1], axis=-1)
    values = np.where(is_down[..., None] == 1, DOWN, UP)
    scale, points = fit_three(groups, weights, order, split, values)
    is_empty = is_flat(groups, 1e-7) | (split.variant < 0)
    scale = np.where(is_empty, np.float32(0), scale)
    points = np.where(is_empty[:, None], 0, points)
    is_down = np.where(is_empty[:, None], 0, is_down)
    d, scale_codes = odd_scale_codes(scale.reshape(-1, 16), 15)
    is_zero = d == 0
    is_down[np.repeat(is_zero, 16)] = 0
    values = np.where(is_down[..., None] == 1, DOWN, UP)
    d = _fit_d(groups, weights, values_of(points, values), scale_codes, d)
    d_bits = bits_of_f16(np.where(is_zero, np.float32(0), d * np.float32(1.1125)))
    scale_codes[is_zero] = 0
    nibbles = split_fields(d_bits, (4, 4, 4, 4))
    fields = [scale_codes.reshape(-1, 4, 4), nibbles[..., None]]
    high = np.stack([points >> 8, is_down], axis=-1).reshape(-1, 4)
    packed = [
        low_byte(points).reshape(-1, 32),
        join_fields(high, _HIGH).reshape(-1, 16),
        join_fields(np.concatenate(fields, axis=-1), _WORD).reshape(-1, 8),
    ]
    return np.concatenate(packed, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 56] -> [rows, cols]."""
    blocks = data.reshape(-1, 56)
    words = split_fields(blocks[:, 48:].reshape(-1, 4, 2), _WORD)
    d = value_of_f16(join_fields(words[..., 4], (4, 4, 4, 4)))[:, None]
    high = split_fields(blocks[:, 32:48, None], _HIGH).reshape(-1, 32, 2)
    points = blocks[:, :32] | high[..., 0] << 8
    odd = (2 * words[..., :4].reshape(-1, 16) + 1).astype(np.float32)
    delta = np.where(high[..., 1] == 1, -DELTA, DELTA)
    values = codebook("IQ1_S").values[points] + delta[..., None]
    scale = np.repeat(d * odd, 2, axis=-1)
    return (scale[..., None] * values).reshape(len(data), -1)


def _fit_d(x: F32, weights: F32, values: F32, scale_codes: I32, d: F32) -> F32:
    """The scale of each block that fits its points best."""
    odd = (2 * scale_codes + 1).astype(np.float32).reshape(-1, 1)
    value, x = (values * odd).reshape(-1, 256), x.reshape(-1, 256)
    weights = weights.reshape(-1, 256)
    cross = ordered_sum(weights * value * x)
    square = ordered_sum(weights * value * value)
    return np.where(square > 0, cross / square, d)


class _Sums:
    """The sums of a split: both halves up, the second down, the first, both.

    The halves are summed apart.  A sum over three parts is that of the last value over
    all, less what the first two parts fall short.
    """

    def __init__(self, x: F32, weights: F32, order: NDArray[np.intp]) -> None:
        sorted_weights = np.take_along_axis(weights, order, axis=-1)
        sorted_x = np.take_along_axis(x, order, axis=-1)
        self.cross, self.square = [], []
        for half in (order < 8, order >= 8):
            self.cross.append(_running(sorted_weights * sorted_x, half))
            self.square.append(_running(sorted_weights, half))

    def __call__(self, i: int, j: int) -> Iterator[tuple[F32, F32]]:
        cross = [[self._cross(h, v, i, j) for v in (UP, DOWN)] for h in (0, 1)]
        square = [[self._square(h, v, i, j) for v in (UP, DOWN)] for h in (0, 1)]
        for first in (0, 1):
            for second in (0, 1):
                yield (
                    cross[0][first] + cross[1][second],
                    square[0][first] + square[1][second],
                )

    def _cross(self, half: int, values: F32, i: int, j: int) -> F32:
        total = self.cross[half]
        return total[-1] * values[2] - (total[i] + total[j])

    def _square(self, half: int, values: F32, i: int, j: int) -> F32:
        total, (low, mid, high) = self.square[half], values
        first, second = low * low - mid * mid, mid * mid - high * high
        return total[-1] * high * high + total[i] * first + total[j] * second


def _running(terms: F32, mask: NDArray[np.bool_]) -> F32:
    """Sums of the first 0, 1, 2, ... terms that a mask selects, on the first axis."""
    zero = np.zeros((len(terms), 1), np.float32)
    selected = np.concatenate([zero, np.where(mask, terms, np.float32(0))], axis=-1)
    return np.cumsum(selected, axis=-1, dtype=np.float32).T
