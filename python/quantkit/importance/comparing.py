"""Compare a tensor's sums with the same tensor of the previous layer.

`statistics` defines the results.  `Gain` and `Pair` of a layer are the sums of those of
its tensors.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np

from .sums import F32, F64, Sums

__all__ = ["Gain", "Pair", "compared"]


@dataclass(frozen=True)
class Gain:
    """Sums of mean squares over columns, for a tensor and that of the layer before."""

    energy: float = 0.0
    elements: int = 0
    energy_before: float = 0.0
    elements_before: int = 0

    def __add__(self, other: Gain) -> Gain:
        return Gain(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def value(self) -> float:
        """The ratio of the root mean squares; NaN if there is no previous energy."""
        if self.energy_before <= 0:
            return math.nan
        before = self.energy_before / self.elements_before
        return math.sqrt(self.energy / self.elements) / math.sqrt(before)


@dataclass(frozen=True)
class Pair:
    """Sums over the n columns that tokens reached in both tensors.

    Attributes:
        dot, squares, squares_before: sums of products and of squares.
        distance: the sum of squared differences.
        cross, spread, spread_before: as the first three, after subtracting the means.
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
        """Whether all columns are zero."""
        return not (self.squares or self.squares_before)

    @property
    def l2_dist(self) -> float:
        """The Euclidean distance."""
        return math.sqrt(self.distance)

    @property
    def cossim(self) -> float:
        """The cosine similarity."""
        return _share(self.dot, self.squares, self.squares_before)

    @property
    def pearson(self) -> float:
        """The Pearson correlation."""
        return _share(self.cross, self.spread, self.spread_before)

    @property
    def covariance(self) -> float:
        """The covariance."""
        return self.cross / self.n


def _share(product: float, one: float, two: float) -> float:
    """product / sqrt(one * two), clipped to -1..1; NaN if both are 0."""
    if one > 0 and two > 0:
        return min(max(product / (math.sqrt(one) * math.sqrt(two)), -1.0), 1.0)
    return math.nan if one == two else 0.0


def compared(one: Sums, before: Sums) -> Pair | None:
    """Compare a tensor with that of the layer before; None without common columns."""
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
    """The mean of each column, rounded to f32; NaN for matrices without tokens: [n]."""
    kept = sums.values if of_values and sums.values is not None else sums.squares
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.float32(1) / sums.counts.astype(np.float32)
        means: F32 = kept.astype(np.float32) * scale[:, None]
    means[sums.counts == 0] = np.nan
    return means.ravel().astype(np.float64)
