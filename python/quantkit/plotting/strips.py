"""The figure of values of chunks: a row for each type, a dot for each chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .canvas import FONT_POINTS, label, style_axes
from .colors import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_DOTS", "Strip", "draw_strips", "is_wide"]

MOST_DOTS = 80
"""Dots in a row; of more chunks, some at equal distances are drawn."""


LINEAR = 1.0
"""The values up to which a wide axis is linear."""

FAR = 25
"""An axis is wide if a mean is more than so many times the median one."""


@dataclass(frozen=True)
class Strip:
    """The values of a type.

    Attributes:
        name: its name.
        values: f64 [chunks].
        mean: their mean.
        error: its standard error; NaN if it is unknown.
        is_best: it is on the Pareto front.
        is_chosen: it is the answer to a question of choice.
    """

    name: str
    values: NDArray[np.float64]
    mean: float
    error: float
    is_best: bool
    is_chosen: bool = False

    @property
    def dots(self) -> NDArray[np.float64]:
        """The values that are drawn."""
        count = len(self.values)
        if count <= MOST_DOTS:
            return self.values
        places = np.linspace(0, count - 1, MOST_DOTS).round().astype(np.intp)
        dots: NDArray[np.float64] = self.values[places]
        return dots


def is_wide(strips: Sequence[Strip]) -> bool:
    """Whether the means differ so much that a linear axis would hide most of them."""
    means = sorted(abs(strip.mean) for strip in strips)
    return bool(means) and means[-1] > FAR * max(means[len(means) // 2], LINEAR)


def draw_strips(axes: Axes, strips: Sequence[Strip], measure: str) -> None:
    """Draw rows of dots, the first at the top, and the mean of each with its error.

    Args:
        axes: empty ones.
        strips: the types.
        measure: what the values are.
    """
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.axvline(0, color=COLORS.rule, linewidth=1)
    for row, strip in enumerate(strips):
        _draw_strip(axes, row, strip)
    axes.set_yticks(
        range(len(strips)),
        [label(strip.name) for strip in strips],
        color=COLORS.ink,
        fontsize=FONT_POINTS,
        parse_math=False,
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(strips) - 0.4, -0.6)
    if is_wide(strips):
        axes.set_xscale("symlog", linthresh=LINEAR)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(measure)


def _draw_strip(axes: Axes, row: int, strip: Strip) -> None:
    """The dots are spread a little in height, by their order, to be told apart."""
    color = COLORS.best if strip.is_best else COLORS.other
    color = COLORS.chosen if strip.is_chosen else color
    dots = strip.dots
    heights = row + 0.22 * np.sin(2.4 * np.arange(len(dots)))
    axes.plot(
        *(dots, heights),
        marker="o",
        markersize=3.2,
        markeredgewidth=0,
        linestyle="none",
        color=color,
        alpha=0.35,
    )
    axes.errorbar(
        *(strip.mean, row),
        xerr=None if math.isnan(strip.error) else strip.error,
        fmt="|",
        markersize=15,
        markeredgewidth=2,
        elinewidth=3,
        color=color,
        zorder=3,
    )
