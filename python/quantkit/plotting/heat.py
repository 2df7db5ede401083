"""The figure of errors in a model: for each type, kinds of tensors by layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..extras import needed
from .canvas import FONT_POINTS, label
from .colors import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["HeatMap", "draw_maps", "height_of"]

ROW_INCHES = 0.155
AROUND_INCHES = 0.46
PALEST = 0.06


@dataclass(frozen=True)
class HeatMap:
    """The errors of a type, as shares.

    Attributes:
        name: its name.
        errors: kind of tensor -> layer -> error; errors that are 0 have no color.
    """

    name: str
    errors: Mapping[str, Mapping[int, float]]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest error that is not 0."""
        every = [v for row in self.errors.values() for v in row.values() if v > 0]
        return (min(every), max(every)) if every else (0.0, 0.0)

    def opacity(self, error: float) -> float:
        """How dark the color of an error is, from 0 to 1."""
        low, high = self.ends
        if error <= 0:
            return 0.0
        share = 0.5 if low == high else (error - low) / (high - low)
        return round(PALEST + (1 - PALEST) * share, 3)


def height_of(maps: Sequence[HeatMap]) -> float:
    """The height of all maps in inches."""
    return sum(_height(each) for each in maps)


def _height(map: HeatMap) -> float:
    return len(map.errors) * ROW_INCHES + AROUND_INCHES


def draw_maps(figure: Figure, maps: Sequence[HeatMap]) -> None:
    """Draw maps below each other; each has its own scale of colors."""
    heights = [_height(each) for each in maps]
    axes = figure.subplots(len(maps), 1, height_ratios=heights, squeeze=False)
    last = max((n for m in maps for row in m.errors.values() for n in row), default=0)
    for one, own in zip(axes[:, 0], maps, strict=True):
        _draw_map(one, own, last)


def _draw_map(axes: Axes, own: HeatMap, last: int) -> None:
    polygons = needed("matplotlib.collections", "plot").PolyCollection
    squares, colors = [], []
    for row, by_layer in enumerate(own.errors.values()):
        for layer, error in by_layer.items():
            x, y = layer - 0.5, row - 0.5
            squares.append([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)])
            colors.append((COLORS.heat, own.opacity(error)))
    axes.add_collection(
        polygons(squares, facecolors=colors, edgecolors="none", antialiaseds=False)
    )
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_ylim(len(own.errors) - 0.5, -0.5)
    kinds = [label(kind) for kind in own.errors]
    axes.set_yticks(range(len(kinds)), kinds, parse_math=False)
    axes.xaxis.set_major_locator(_integers())
    _bare(axes)
    low, high = own.ends
    about: dict[str, Any] = {"fontsize": FONT_POINTS, "parse_math": False, "pad": 3}
    axes.set_title(
        *(label(own.name), None, "left"), color=COLORS.ink, weight="bold", **about
    )
    axes.set_title(
        *(f"{100 * low:.2g} % (faint) to {100 * high:.2g} % (strong)", None, "right"),
        color=COLORS.muted,
        **about,
    )


def _integers() -> Any:
    return needed("matplotlib.ticker", "plot").MaxNLocator("auto", integer=True)


def _bare(axes: Axes) -> None:
    """Axes with numbers and no lines."""
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(
        length=0, labelsize=FONT_POINTS - 1.5, labelcolor=COLORS.muted, pad=2
    )
