"""A tensor beside its like in the layer before; `statistics` says what the figures are.

The sums of a layer's tensors add up to those of the layer.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np

from .sums import F32, F64, Sums

__all__ = ["Gain", "Pair", "compared"]


@dataclass(frozen=True)
class Gain:
    """Mean squares summed over the columns of a tensor, and of its like before."""

    energy: float = 0.0
    elements: int = 0
    energy_before: float = 0.0
    elements_before: int = 0

    def __add__(self, other: Gain) -> Gain:
        return Gain(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def value(self) -> float:
        """The ratio of the root mean squares; NaN where there was nothing before."""
        if self.energy_before <= 0:
            return math.nan
        before = self.energy_before / self.elements_before
        return math.sqrt(self.energy / self.elements) / math.sqrt(before)


@dataclass(frozen=True)
class Pair:
    """Sums over the n columns that a token reached in both.

    Attributes:
        dot, squares, squares_before: of products and of squares.
        distance: of squared differences.
        cross, spread, spread_before: as the first three, less the means.
    """

    n: int = 0
    dot: float = 0.0
    squares: float = 0.0
    squares_before: float = 0.0
    distance: float = 0.0
    cross: float = 0.0
    spread: float = 0.0
    spread_before: float = 0.0

    def __add__(self, other: Pair) -> Pair:
        return Pair(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def is_nothing(self) -> bool:
        """Whether no column holds anything."""
        return not (self.squares or self.squares_before)

    @property
    def l2_dist(self) -> float:
        """The distance of the two."""
        return math.sqrt(self.distance)

    @property
    def cossim(self) -> float:
        """The cosine of their angle."""
        return _share(self.dot, self.squares, self.squares_before)

    @property
    def pearson(self) -> float:
        """Their correlation."""
        return _share(self.cross, self.spread, self.spread_before)

    @property
    def covariance(self) -> float:
        """Their covariance."""
        return self.cross / self.n


def _share(product: float, one: float, two: float) -> float:
    """product / sqrt(one * two), within -1 and 1; NaN where both are 0."""
    if one > 0 and two > 0:
        return min(max(product / (math.sqrt(one) * math.sqrt(two)), -1.0), 1.0)
    return math.nan if one == two else 0.0


def compared(one: Sums, before: Sums) -> Pair | None:
    """A tensor beside its like; None where they have no columns in common."""
    with_values = one.values is not None and before.values is not None
    u, v = _averages(one, with_values), _averages(before, with_values)
    if u.size != v.size:
        return None
    both = np.isfinite(u) & np.isfinite(v)
    u, v = u[both], v[both]
    if not u.size:
        return None
    du, dv = u - u.mean(), v - v.mean()
    return Pair(
        n=u.size,
        dot=float((u * v).sum()),
        squares=float((u * u).sum()),
        squares_before=float((v * v).sum()),
        distance=float(np.square(u - v).sum()),
        cross=float((du * dv).sum()),
        spread=float((du * du).sum()),
        spread_before=float((dv * dv).sum()),
    )


def _averages(sums: Sums, of_values: bool) -> F64:
    """Means of each column, rounded to f32; NaN for a matrix without tokens: [n]."""
    kept = sums.values if of_values and sums.values is not None else sums.squares
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.float32(1) / sums.counts.astype(np.float32)
        means: F32 = kept.astype(np.float32) * scale[:, None]
    means[sums.counts == 0] = np.nan
    return means.ravel().astype(np.float64)
