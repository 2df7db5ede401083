"""Codebooks: the points that groups of weights may take, and the nearest of them.

The coordinates of a point are levels 0, 1, 2, ...  Not every combination of levels is a
point.  For one that is not, llama.cpp looks among the points at the one, two or three
least distances from it (in levels), nearest first and then by number, for the one with
the least weighted error.  The points come from the `gguf` package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import gguf.quants
import numpy as np
from numpy.typing import NDArray

from .numbers import F32, I32, ordered_sum

__all__ = ["Codebook", "codebook", "points_of"]

_MOST = np.finfo(np.float32).max

# How many distances count as near.
_N_NEAR = {"IQ2_XXS": 2, "IQ2_XS": 2, "IQ2_S": 1, "IQ3_XXS": 2, "IQ3_S": 3, "IQ1_S": 3}


@dataclass(frozen=True)
class Codebook:
    """The points of a type.

    Attributes:
        values: f32 [points, size]: the weights of each point, up to sign and scale.
        levels: the same as levels.
        n_levels: how many levels there are.
        number_of: by combination of levels, the number of the point; -1 if it is none.
        near: by combination of levels, the points near it; -1 fills the rows up.
    """

    values: F32
    levels: I32
    n_levels: int
    number_of: I32
    near: I32

    @property
    def size(self) -> int:
        """Weights of a point."""
        return self.levels.shape[1]

    def combination(self, levels: I32) -> I32:
        """One number for the levels on the last axis."""
        powers = self.n_levels ** np.arange(self.size)
        return (levels * powers).sum(axis=-1).astype(np.int32)

    def nearest(
        self, levels: I32, x: F32, weights: F32, scale: F32, level_values: F32
    ) -> tuple[I32, NDArray[np.bool_]]:
        """Numbers of the points nearest to `levels`, and where these are points.

        Args:
            levels: the levels wanted [n, size].
            x: the weights [n, size] that they stand for.
            weights: the weight of each error [n, size].
            scale: what level values are multiplied by [n].
            level_values: what each level stands for [n, n_levels] or [n_levels].
        """
        combination = self.combination(levels)
        number = self.number_of[combination]
        is_point = number >= 0
        off = ~is_point
        near = self.near[combination[off]]
        values = np.broadcast_to(level_values, (len(x), self.n_levels))[off]
        rows = np.arange(len(near))[:, None, None]
        errors = scale[off][:, None, None] * values[rows, self.levels[near]]
        errors = errors - x[off][:, None]
        total = ordered_sum(weights[off][:, None] * errors * errors)
        total = np.where((near >= 0) & (total < _MOST), total, np.float32(np.inf))
        best = total.argmin(axis=-1)
        number[off] = near[np.arange(len(near)), best]
        return number, is_point


@functools.cache
def codebook(name: str) -> Codebook:
    """The codebook of the type called `name`; IQ1_M has that of IQ1_S."""
    values = points_of(name)
    steps = np.unique(values)
    levels = np.searchsorted(steps, values).astype(np.int32)
    size, n_levels = levels.shape[1], len(steps)
    number_of = np.full(n_levels**size, -1, np.int32)
    powers = n_levels ** np.arange(size)
    number_of[(levels * powers).sum(axis=-1)] = np.arange(len(levels))
    all_levels = np.arange(n_levels**size)[:, None] // powers % n_levels
    near = _near_points(all_levels.astype(np.int32), levels, _N_NEAR[name])
    return Codebook(values, levels, n_levels, number_of, near)


def points_of(name: str) -> F32:
    """The values of a codebook's points [points, size]."""
    kind = getattr(gguf.quants, name)
    kind.init_grid()
    values: F32 = kind.grid.reshape(kind.grid_shape).astype(np.float32)
    return values.reshape(-1, values.shape[-1])


def _near_points(wanted: I32, levels: I32, n_near: int) -> I32:
    """For each row of `wanted` the points at its `n_near` least distances."""
    found = []
    for row in wanted:
        distance = ((levels - row) ** 2).sum(axis=-1)
        furthest = np.unique(distance)[n_near - 1]
        order = np.argsort(distance, kind="stable")
        found.append(order[: (distance <= furthest).sum()])
    near = np.full((len(wanted), max(map(len, found))), -1, np.int32)
    for i, points in enumerate(found):
        near[i, : len(points)] = points
    return near
