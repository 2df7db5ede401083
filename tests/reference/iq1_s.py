"""IQ1_S: 256 weights in 50 bytes, in 8 groups of 32.

    d f16 | 32 bytes: low bits of points of 8 weights | for each group a word of 16
    bits: 4 times 3 high bits of points, 3 bits of scale, 1 if the group is shifted down

A weight is d * (2 * scale + 1) * (value of the point + or - 1/8).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .blocks256 import block_weights
from .codebook import codebook
from .grid_search import odd_scale_codes
from .iq1 import DELTA, DOWN, UP, best_split, fit_three, is_flat
from .numbers import F32, U8, bits_of_f16, low_byte, value_of_f16
from .packing import join_fields, split_fields

__all__ = ["dequantize", "quantize"]

_WORD = (3, 3, 3, 3, 3, 1)


def quantize(x: F32, importance: F32 | None = None) -> U8:
    """[rows, cols] -> [rows, cols / 256 * 50]; importance must be given."""
    assert importance is not None
    groups = x.reshape(-1, 32)
    weights = block_weights(x, importance, 2).reshape(-1, 32)
    order = np.argsort(groups, axis=-1, kind="stable")
    split = best_split(32, len(groups), _Sums(groups, weights, order))
    is_down = (split.variant == 1) ^ (split.scale < 0)
    values = np.where(is_down[:, None, None], DOWN, UP)
    values = np.broadcast_to(values, (len(groups), 4, 3))
    scale, points = fit_three(groups, weights, order, split, values)
    is_empty = is_flat(groups, 1e-12) | (split.variant < 0)
    scale = np.where(is_empty, np.float32(0), scale)
    points = np.where(is_empty[:, None], 0, points).reshape(-1, 8, 4)
    d, scale_codes = odd_scale_codes(scale.reshape(-1, 8), 15)
    is_down = (is_down & ~is_empty).reshape(-1, 8) & (d > 0)[:, None]
    fields = [points >> 8, scale_codes[..., None], is_down[..., None]]
    packed = [
        bits_of_f16(d * np.float32(1.125)),
        low_byte(points).reshape(-1, 32),
        join_fields(np.concatenate(fields, axis=-1), _WORD).reshape(-1, 16),
    ]
    return np.concatenate(packed, axis=-1).reshape(len(x), -1)


def dequantize(data: U8) -> F32:
    """[rows, cols / 256 * 50] -> [rows, cols]."""
    blocks = data.reshape(-1, 50)
    fields = split_fields(blocks[:, 34:].reshape(-1, 8, 2), _WORD)
    points = blocks[:, 2:34].reshape(-1, 8, 4) | fields[..., :4] << 8
    odd = (2 * fields[..., 4] + 1).astype(np.float32)
    scale = value_of_f16(blocks[:, :2])[:, None] * odd
    delta = np.where(fields[..., 5] == 1, -DELTA, DELTA)
    values = codebook("IQ1_S").values[points].reshape(-1, 8, 32) + delta[..., None]
    return (scale[..., None] * values).reshape(len(data), -1)


class _Sums:
    """The sums of a split: shifted up, shifted down."""

    def __init__(self, x: F32, weights: F32, order: NDArray[np.intp]) -> None:
        sorted_weights = np.take_along_axis(weights, order, axis=-1)
        sorted_x = np.take_along_axis(x, order, axis=-1)
        zero = np.zeros((len(x), 1), np.float32)
        terms = np.concatenate([zero, sorted_weights * sorted_x], axis=-1)
        self.cross = np.cumsum(terms, axis=-1, dtype=np.float32).T
        terms = np.concatenate([zero, sorted_weights], axis=-1)
        self.square = np.cumsum(terms, axis=-1, dtype=np.float32).T

    def __call__(self, i: int, j: int) -> Iterator[tuple[F32, F32]]:
        a, b, c = self._parts(self.cross, i, j)
        p, q, r = self._parts(self.square, i, j)
        for low, mid, high in (UP, DOWN):
            square = p * low * low + q * mid * mid + r * high * high
            yield a * low + b * mid + c * high, square

    @staticmethod
    def _parts(total: F32, i: int, j: int) -> tuple[F32, F32, F32]:
        return total[i] - total[0], total[j] - total[i], total[-1] - total[j]
