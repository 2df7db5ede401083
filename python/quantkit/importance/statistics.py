"""Statistics of tensors and layers from an importance matrix, as in llama-imatrix.

For c rows of activations x of a matrix, for each column:

    a = sum(x) / c        the mean activation
    q = sum(x^2) / c      the mean square (the importance)

Over all columns of all matrices (experts) of a tensor that tokens reached, with u = a,
or u = q if sums of x are unknown (.dat files):

    sum_sq          sum of q
    elements        number of columns
    mean            mean of u
    std_deviation   s = sqrt(mean (u - mean)^2)
    skewness        mean (u - mean)^3 / s^3; 0 if s is 0
    kurtosis        mean (u - mean)^4 / s^4 - 3; 0 if s is 0
    h_norm          entropy of q / sum_sq, in percent of the entropy of equal columns;
                    low if a few columns have most of the energy

Compared with the same tensor of the previous layer (the nearest that has it), with u
and u' in f32, over the columns that tokens reached in both:

    gain            sqrt(mean q) / sqrt(mean q')
    l2_dist         |u - u'|
    cossim          u.u' / (|u| |u'|)
    pearson         correlation of u and u'
    covariance      mean of (u - mean u) (u' - mean u')

These are NaN if there is no previous layer, or the divisor is 0.  Multi-token
prediction layers (NextN) are compared only with each other.  A layer's statistics are
over the columns of all its tensors: `sum_sq` includes all tensors, `gain` only those
that are compared.
Source: tools/imatrix of llama.cpp, b11434.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..by_value import ByValue
from .comparing import Gain, Pair, compared
from .sums import F64, Sums

__all__ = [
    "SCHEMA",
    "LayerStatistics",
    "Statistics",
    "TensorStatistics",
    "statistics_of",
]

SCHEMA = (
    *("sum_sq", "mean", "elements", "std_deviation", "skewness", "kurtosis"),
    *("gain", "h_norm", "l2_dist", "cossim", "pearson", "covariance"),
)

TINY = 1e-10
"""Values up to this are treated as 0."""


@dataclass(frozen=True, eq=False)
class TensorStatistics(ByValue):
    """The statistics of one tensor; the module docstring defines them.

    Attributes:
        name: the tensor's name.
        layer: the layer number; None: it is not in a layer.
        rows: the maximum number of rows of activations over its matrices.
        matrices, reached: the number of matrices (experts), and of those that tokens
            reached.
    """

    name: str
    layer: int | None
    rows: int
    matrices: int
    reached: int
    sum_sq: float
    elements: int
    mean: float
    std_deviation: float
    skewness: float
    kurtosis: float
    h_norm: float
    gain: float = math.nan
    l2_dist: float = math.nan
    cossim: float = math.nan
    pearson: float = math.nan
    covariance: float = math.nan


@dataclass(frozen=True, eq=False)
class LayerStatistics(ByValue):
    """The statistics of one layer; the module docstring defines them."""

    layer: int
    sum_sq: float
    gain: float = math.nan
    l2_dist: float = math.nan
    cossim: float = math.nan
    pearson: float = math.nan
    covariance: float = math.nan


@dataclass(frozen=True, eq=False)
class Statistics(ByValue):
    """The statistics of all tensors and layers, in order of layers."""

    tensors: list[TensorStatistics]
    layers: list[LayerStatistics]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN becomes None."""
        return {
            key: [
                {k: None if v != v else v for k, v in asdict(e).items()} for e in each
            ]
            for key, each in (("tensors", self.tensors), ("layers", self.layers))
        }


def statistics_of(sums: Mapping[str, Sums], n_layer_nextn: int = 0) -> Statistics:
    """The statistics of all tensors that tokens reached, and of their layers.

    Args:
        sums: the sums by tensor name.
        n_layer_nextn: the number of multi-token prediction layers at the end.
    """
    own = {name: _own_figures(name, s) for name, s in sums.items() if s.counts.any()}
    nextn = _first_nextn(own, n_layer_nextn)
    tensors = []
    layers = {e.layer: (Pair(), Gain()) for e in own.values() if e.layer is not None}
    for figures in sorted(own.values(), key=_order):
        before, layer = own.get(_name_before(figures, own, nextn)), figures.layer
        if before is not None and layer is not None:
            figures, pair, gain = _beside(figures, before, sums)
            if not pair.is_nothing:
                layers[layer] = layers[layer][0] + pair, layers[layer][1] + gain
        tensors.append(figures)
    return Statistics(tensors, [_layer(i, tensors, *layers[i]) for i in sorted(layers)])


def _own_figures(name: str, sums: Sums) -> TensorStatistics:
    """The statistics that do not compare layers."""
    reached = sums.counts > 0
    inverse = 1 / sums.counts[reached].astype(np.float32).astype(np.float64)
    squares = (_rounded(sums.squares[reached]) * inverse[:, None]).ravel()
    means = squares
    if sums.values is not None:
        means = (_rounded(sums.values[reached]) * inverse[:, None]).ravel()
    n, energy = squares.size, float(squares.sum())
    apart = means - means.mean()
    variance = float(np.square(apart).mean())
    is_even = math.sqrt(variance) <= TINY
    layer = re.search(r"(?:^|\.)blk\.(\d+)\.", name)
    return TensorStatistics(
        name=name,
        layer=int(layer[1]) if layer else None,
        rows=int(sums.counts.max()),
        matrices=len(sums.counts),
        reached=int(reached.sum()),
        sum_sq=energy,
        elements=n,
        mean=float(means.mean()),
        std_deviation=float(np.sqrt(np.float32(variance))),
        skewness=0.0 if is_even else float((apart**3).mean()) / variance**1.5,
        kurtosis=0.0 if is_even else float((apart**4).mean()) / variance**2 - 3,
        h_norm=_share_of_even(_entropy(squares, energy), n),
    )


def _entropy(squares: F64, energy: float) -> float:
    """The entropy in bits."""
    if energy <= 0:
        return 0.0
    share = squares / energy
    share = share[share > TINY]
    return -float((share * np.log2(share)).sum())


def _share_of_even(entropy: float, n: int) -> float:
    """The entropy in percent of that of n equal columns, in f32 as in llama-imatrix."""
    if n < 2:
        return math.nan
    share = np.float32(entropy) / np.log2(np.float32(n))
    return float(np.float32(100) * share)


def _rounded(sums: F64) -> F64:
    """Sums rounded to f32, as in a file."""
    return sums.astype(np.float32).astype(np.float64)


def _order(figures: TensorStatistics) -> tuple[float, str]:
    """The sort key: by layer; tensors outside the layers come last."""
    return (math.inf if figures.layer is None else figures.layer), figures.name


def _first_nextn(own: Mapping[str, TensorStatistics], n_layers: int) -> float:
    """The number of the first multi-token prediction layer; infinity if none."""
    numbers = [each.layer for each in own.values() if each.layer is not None]
    if n_layers and numbers:
        return max(0, max(numbers) + 1 - n_layers)
    named = [
        e.layer for e in own.values() if e.layer is not None and ".nextn." in e.name
    ]
    return min(named, default=math.inf)


def _name_before(
    figures: TensorStatistics, own: Mapping[str, TensorStatistics], nextn: float
) -> str:
    """The name of the same tensor in the nearest previous layer, or ""."""
    layer = figures.layer
    if layer is None or layer == nextn:
        return ""
    first = int(nextn) if layer > nextn else 0
    names = (
        figures.name.replace(f"blk.{layer}.", f"blk.{i}.", 1)
        for i in range(layer - 1, first - 1, -1)
    )
    return next((name for name in names if name in own), "")


def _beside(
    figures: TensorStatistics, before: TensorStatistics, sums: Mapping[str, Sums]
) -> tuple[TensorStatistics, Pair, Gain]:
    """The statistics completed by the comparison with the previous layer."""
    pair = compared(sums[figures.name], sums[before.name])
    if pair is None:
        return figures, Pair(), Gain()
    gain, nothing = Gain(), 1.0 if figures.sum_sq <= TINY else math.nan
    if before.sum_sq > TINY:
        gain = Gain(figures.sum_sq, figures.elements, before.sum_sq, before.elements)
    found = replace(
        figures,
        gain=gain.value if gain.elements else nothing,
        l2_dist=pair.l2_dist,
        cossim=pair.cossim,
        pearson=pair.pearson,
        covariance=pair.covariance if pair.n > 1 else math.nan,
    )
    return found, pair, gain


def _layer(
    number: int, tensors: list[TensorStatistics], pair: Pair, gain: Gain
) -> LayerStatistics:
    """The statistics of a layer, from the summed comparisons of its tensors."""
    energy = sum(t.sum_sq for t in tensors if t.layer == number)
    if not pair.n:
        return LayerStatistics(number, energy)
    return LayerStatistics(
        *(number, energy, gain.value),
        *(pair.l2_dist, pair.cossim, pair.pearson, pair.covariance),
    )
