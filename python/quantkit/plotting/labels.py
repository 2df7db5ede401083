"""Names beside points, so that none covers another one or a point."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .canvas import FONT_POINTS, label
from .colors import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Named", "place_names"]

CHARACTER = 0.58
"""The mean width of a character, as a share of the font's size."""

GAPS = (6.0, 13.0, 22.0, 34.0)
"""Distances of a name from its point in points; from the second on with a line."""

DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225)
"""Degrees; where a name is tried, in this order."""

POINT = 4.0
"""Half of the size of a point, in points."""


@dataclass(frozen=True)
class Named:
    """A point with a name.

    Attributes:
        name: the name.
        x, y: the place in data coordinates.
        color: of the name.
        rank: names of low ranks come first; one of rank 0 is shown even where it covers
            something.
    """

    name: str
    x: float
    y: float
    color: str
    rank: int


@dataclass(frozen=True)
class Box:
    """A rectangle in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether they have a common area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def is_within(self, other: Box) -> bool:
        """Whether it is wholly inside."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.bottom <= self.bottom
            and self.top <= other.top
        )


def place_names(axes: Axes, points: Sequence[Named]) -> list[str]:
    """Write the names of points, those of low ranks first.

    The axes must have their final limits and place.

    Returns:
        The names for which there is no room.
    """
    scale = 72 / axes.figure.dpi
    ends = axes.get_window_extent()
    room = Box(ends.x0 * scale, ends.y0 * scale, ends.x1 * scale, ends.y1 * scale)
    places = axes.transData.transform([(p.x, p.y) for p in points]) * scale
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in places]
    left_out = []
    order = sorted(range(len(points)), key=lambda i: points[i].rank)
    for i in order:
        point, (x, y) = points[i], places[i]
        tried = list(_boxes(label(point.name), x, y))
        faults = [_faults(box, room, taken) for _, box in tried]
        gap, box = tried[faults.index(min(faults))]
        if min(faults) and point.rank:
            left_out.append(point.name)
            continue
        taken.append(box)
        _write(axes, point, (x, y), gap, box)
    return left_out


def _faults(box: Box, room: Box, taken: Sequence[Box]) -> int:
    """How many things a box covers; being outside of the room counts most."""
    covered = sum(map(box.overlaps, taken))
    return covered if box.is_within(room) else covered + len(taken)


def _boxes(text: str, x: float, y: float) -> Iterator[tuple[float, Box]]:
    """Where a name can be, the best place first, and its distance."""
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    width, height = columns * CHARACTER * FONT_POINTS, 1.25 * FONT_POINTS
    for gap in GAPS:
        for degrees in DIRECTIONS:
            across = round(math.cos(math.radians(degrees)), 3)
            along = round(math.sin(math.radians(degrees)), 3)
            left = x + across * gap + (across - 1) / 2 * width
            bottom = y + along * gap + (along - 1) / 2 * height
            yield gap, Box(left, bottom, left + width, bottom + height)


def _write(
    axes: Axes, point: Named, place: tuple[float, float], gap: float, box: Box
) -> None:
    """Write a name into its box, with a line to its point if it is far away."""
    middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    line = {"arrowstyle": "-", "color": COLORS.rule, "linewidth": 0.6, "shrinkB": 4}
    paper = {"facecolor": COLORS.paper, "edgecolor": "none", "alpha": 0.7, "pad": 0.4}
    written = axes.annotate(
        label(point.name),
        (point.x, point.y),
        xytext=(middle[0] - place[0], middle[1] - place[1]),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=FONT_POINTS,
        color=point.color,
        parse_math=False,
        bbox=paper,
        arrowprops=line if gap > GAPS[0] else None,
        zorder=5,
    )
    written.set_in_layout(False)  # so that the axes stay where names were placed
