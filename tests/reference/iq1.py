"""What IQ1_S and IQ1_M share: weights of -1, 0 and 1, all a little up or down.

With three values only, the best split can be found by trying all: the weights of a
group, sorted, are cut in two places.  After that the levels move to points of the
codebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import codebook
from .numbers import F32, I32, ordered_sum

__all__ = [
    "DELTA",
    "DOWN",
    "UP",
    "Split",
    "best_split",
    "fit_three",
    "is_flat",
    "values_of",
]

DELTA = np.float32(0.125)
UP: F32 = np.array([-1, 0, 1], np.float32) + DELTA
DOWN: F32 = np.array([-1, 0, 1], np.float32) - DELTA

# For the cuts i <= j: cross and square sums of every variant, the first one first.
Sums = Callable[[int, int], Iterator[tuple[F32, F32]]]


class Split(NamedTuple):
    """The best split of every group [n].

    Attributes:
        scale: what the three values are multiplied by; may be negative.
        variant: which of the sums was best; -1 if none.
        first: how many of the sorted weights are -1.
        second: how many are -1 or 0.
    """

    scale: F32
    variant: I32
    first: I32
    second: I32


def is_flat(x: F32, least: float) -> NDArray[np.bool_]:
    """Whether no weight of a group reaches a magnitude."""
    largest = np.abs(x).max(axis=-1)
    flat: NDArray[np.bool_] = largest < np.float32(least)
    return flat


def best_split(n: int, n_groups: int, sums: Sums) -> Split:
    """Try all cuts of `n` sorted weights; the first of equals wins."""
    best = np.full(n_groups, -np.finfo(np.float32).max)
    scale = np.zeros(n_groups, np.float32)
    variant = np.full(n_groups, -1, np.int32)
    first, second = np.zeros_like(variant), np.zeros_like(variant)
    for i in range(n + 1):
        for j in range(i, n + 1):
            for k, (cross, square) in enumerate(sums(i, j)):
                better = (square > 0) & (cross * cross > best * square)
                scale = np.where(better, cross / square, scale)
                best = np.where(better, scale * cross, best)
                variant = np.where(better, k, variant)
                first = np.where(better, i, first)
                second = np.where(better, j, second)
    return Split(scale, variant, first, second)


def fit_three(
    x: F32, weights: F32, order: NDArray[np.intp], split: Split, values: F32
) -> tuple[F32, I32]:
    """Scales [n] and points [n, size / 8] for a split of groups [n, size].

    Args:
        x: the weights.
        weights: the weight of each error.
        order: the indices that sort `x`.
        split: the best split.
        values: what the levels stand for [n, size / 8, 3] once the scale is positive.
    """
    book = codebook("IQ1_S")
    rank = np.argsort(order, axis=-1)
    levels = (rank >= split.first[:, None]).astype(np.int32)
    levels += rank >= split.second[:, None]
    levels = np.where((split.scale < 0)[:, None], 2 - levels, levels)
    scale = np.abs(split.scale)
    points, is_point = book.nearest(
        levels.reshape(-1, 8),
        x.reshape(-1, 8),
        weights.reshape(-1, 8),
        np.repeat(scale, x.shape[-1] // 8),
        values.reshape(-1, 3),
    )
    points = points.reshape(len(x), -1)
    value = values_of(points, values)
    cross = ordered_sum(weights * value * x)
    square = ordered_sum(weights * value * value)
    is_refit = ~is_point.reshape(points.shape).all(axis=-1) & (cross > 0) & (square > 0)
    return np.where(is_refit, cross / square, scale), points


def values_of(points: I32, values: F32) -> F32:
    """The weights of points [n, m], before scale, with `values` of levels [n, m, 3]."""
    levels = codebook("IQ1_S").levels[points]
    found = np.take_along_axis(values, levels, axis=-1)
    return found.reshape(len(points), -1)
