"""Sixteen uneven levels, and the search for the scale that IQ4_NL and IQ4_XS share."""

from __future__ import annotations

import numpy as np

from .numbers import F32, I32, first_peak, ordered_sum

__all__ = ["LEVELS", "fit_levels", "nearest_level"]

LEVELS: F32 = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
    np.float32,
)
_NO_WEIGHT = np.float32(1e-15)  # a group whose largest weight is smaller is all zero


def nearest_level(x: F32) -> I32:
    """The index of the nearest level, the upper one for halves and the last for NaN."""
    above = 15 - (x[..., None] < LEVELS[1:15]).sum(axis=-1)
    closer = x - LEVELS[above - 1] < LEVELS[above] - x
    index = np.where(closer, above - 1, above)
    index = np.where(x >= LEVELS[15], 15, index)
    return np.where(x <= LEVELS[0], 0, index).astype(np.int32)


def fit_levels(x: F32, weights: F32) -> F32:
    """The scale of every group [..., 32] for which levels fit it best."""
    peak = first_peak(x)

    def sums(inverse: F32) -> tuple[F32, F32]:
        level = LEVELS[nearest_level(inverse[..., None] * x)]
        cross = ordered_sum(weights * level * x)
        return cross, ordered_sum(weights * level * level)

    cross, square = sums(np.float32(1) / (-peak / LEVELS[0]))
    scale = np.where(square > 0, cross / square, np.float32(0))
    best = scale * cross
    for step in range(-7, 8):
        cross, square = sums((np.float32(step) + LEVELS[0]) / peak)
        better = (square > 0) & (cross * cross > best * square)
        scale = np.where(better, cross / square, scale)
        best = np.where(better, scale * cross, best)
    return np.where(np.abs(peak) < _NO_WEIGHT, np.float32(0), scale)
