"""The figure of size against loss: base, types, Pareto line, errors and names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .canvas import FONT_POINTS, style_axes
from .colors import COLORS
from .labels import Named, place_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Losses", "Point"]

MIB, GIB = 1 << 20, 1 << 30
NICE = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""Ticks of sizes, times powers of ten."""

MOST_TICKS = 7
MOST_NEEDED = 8
"""With more points on the Pareto front, some of their names may find no room."""

FAR = 8
"""A loss is far away if it is more than so many times the median one."""

NEAR = 30
"""A noise floor is drawn if the smallest loss is less than so many times as large."""


@dataclass(frozen=True)
class Point:
    """A type in the figure.

    Attributes:
        name: its name.
        size_bytes: the size of its file.
        loss: what it loses; more is worse.
        error: one standard error of the loss; NaN if it is unknown.
        is_best: it is on the Pareto front.
        is_chosen: it is the answer to a question of choice.
        spread: two quantiles of the loss, to draw a line between; None: no line.
    """

    name: str
    size_bytes: int
    loss: float
    error: float
    is_best: bool
    is_chosen: bool = False
    spread: tuple[float, float] | None = None

    @property
    def color(self) -> str:
        """The color of its role."""
        if self.is_chosen:
            return COLORS.chosen
        return COLORS.best if self.is_best else COLORS.other


@dataclass(frozen=True)
class Losses:
    """Size against loss.

    Attributes:
        points: the types.
        base: the name and the size in bytes of what they are compared with.
        of_base: the loss of the base: where a line is drawn; None: it is zero.
        measure: what the loss is, such as "KL divergence (nats per token)".
        floors: by name, losses that are noise of the measurement.
        is_log: whether the axis of losses is logarithmic.
        note: what dots and lines mean, above the figure; empty: no note.
    """

    points: Sequence[Point]
    base: tuple[str, int]
    measure: str
    of_base: float | None = None
    floors: Mapping[str, float] | None = None
    is_log: bool = True
    note: str = ""

    def draw_on(self, figure: Figure) -> None:
        """Draw on an empty figure, which keeps its layout."""
        self.draw(figure.subplots())
        figure.set_layout_engine(None)  # it is settled: names are placed

    def draw(self, axes: Axes) -> list[str]:
        """Draw on empty axes; returns names for which there was no room."""
        style_axes(axes)
        self._set_scales(axes)
        self._draw_front(axes)
        for point in self._shown:
            self._draw_point(axes, point)
        self._draw_floors(axes)
        base = self._draw_base(axes)
        axes.set_xlabel(f"size of the file ({self._unit_name})")
        axes.set_ylabel(self.measure)
        about = {"fontsize": FONT_POINTS - 1, "color": COLORS.muted}
        axes.set_title(self.note, about, loc="left")
        self._set_ticks(axes)
        _settle(axes)
        names = [
            Named(p.name, self._x(p.size_bytes), p.loss, p.color, self._rank(p))
            for p in self._shown
        ]
        return place_names(axes, [*names, base])

    def _rank(self, point: Point) -> int:
        """How important the name of a point is, see `Named`."""
        if point.is_chosen:
            return 0
        if not point.is_best:
            return 2
        return int(sum(p.is_best for p in self._shown) > MOST_NEEDED)

    @property
    def beyond(self) -> list[Point]:
        """The points that the axis of losses cannot show.

        On a logarithmic axis those without loss, otherwise those that are so far away
        that others could not be told apart.
        """
        if self.is_log:
            return [p for p in self.points if p.loss <= 0]
        base = self.of_base or 0.0
        losses = sorted(p.loss - base for p in self.points)
        limit = max(FAR * losses[len(losses) // 2], 0.1 * base) if losses else 0.0
        return [p for p in self.points if p.loss - base > limit]

    @property
    def _shown(self) -> list[Point]:
        """The points that the axis of losses can show."""
        beyond = {p.name for p in self.beyond}
        return [p for p in self.points if p.name not in beyond]

    @property
    def _unit(self) -> int:
        return GIB if self.base[1] >= 2 * GIB else MIB

    @property
    def _unit_name(self) -> str:
        return "GiB" if self._unit == GIB else "MiB"

    def _x(self, size_bytes: int) -> float:
        return size_bytes / self._unit

    def _set_scales(self, axes: Axes) -> None:
        """Logarithmic scales, with room around what is shown."""
        axes.set_xscale("log")
        sizes = [self._x(p.size_bytes) for p in self.points] + [self._x(self.base[1])]
        axes.set_xlim(min(sizes) / 1.12, max(sizes) * 1.12)
        low, high = self._range()
        if self.is_log:
            axes.set_yscale("log")
            axes.set_ylim(low / 2.2, high * 1.6)
        else:
            pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
            axes.set_ylim(low - pad, high + pad)

    def _range(self) -> tuple[float, float]:
        """The least and the largest number on the axis of losses."""
        values = [v for p in self._shown for v in _ends(p)]
        if self.of_base is not None:
            values.append(self.of_base)
        values += self._near_floors(values).values()
        if self.is_log:
            values = [v for v in values if v > 0]
        return (min(values), max(values)) if values else (0.1, 1.0)

    def _near_floors(self, values: Sequence[float]) -> dict[str, float]:
        """The noise floors that are not far below what is shown."""
        positive = [v for v in values if v > 0]
        if not positive or not self.is_log:
            return {}
        floors = (self.floors or {}).items()
        return {name: v for name, v in floors if v * NEAR > min(positive)}

    def _draw_front(self, axes: Axes) -> None:
        """The Pareto line: what can be had at each size, in steps."""
        best = sorted((p for p in self._shown if p.is_best), key=lambda p: p.size_bytes)
        if len(best) > 1:
            axes.step(
                [self._x(p.size_bytes) for p in best],
                [p.loss for p in best],
                where="post",
                color=COLORS.best,
                linewidth=1,
                alpha=0.45,
                zorder=1,
                label="Pareto front",
            )

    def _draw_point(self, axes: Axes, point: Point) -> None:
        """A dot, its standard error, and a thin line between two quantiles."""
        x = self._x(point.size_bytes)
        if point.spread is not None:
            ends = [max(v, 1e-12) if self.is_log else v for v in point.spread]
            axes.plot(
                *([x, x], ends),
                color=point.color,
                linewidth=1,
                alpha=0.3,
                marker="_",
                markersize=4,
                zorder=2,
            )
        axes.errorbar(
            *(x, point.loss),
            yerr=None if math.isnan(point.error) else point.error,
            fmt="D" if point.is_chosen else "o",
            markersize=6 if point.is_best else 5,
            color=point.color,
            elinewidth=2,
            zorder=3,
        )

    def _draw_floors(self, axes: Axes) -> None:
        """Dashed lines at noise floors that are in the picture."""
        low, high = axes.get_ylim()
        for name, value in (self.floors or {}).items():
            if low < value < high:
                axes.axhline(value, color=COLORS.floor, linewidth=1, linestyle="--")
                axes.annotate(
                    f"noise floor ({name})",
                    (1, value),
                    xycoords=("axes fraction", "data"),
                    xytext=(-3, 3),
                    textcoords="offset points",
                    ha="right",
                    fontsize=FONT_POINTS,
                    color=COLORS.floor,
                    parse_math=False,
                )

    def _draw_base(self, axes: Axes) -> Named:
        """The base at its size: on its line, or at the lower edge, since it is zero."""
        x = self._x(self.base[1])
        y = axes.get_ylim()[0] if self.of_base is None else self.of_base
        if self.of_base is not None:
            axes.axhline(y, color=COLORS.rule, linewidth=1, zorder=1)
        axes.plot(
            *([x], [y]),
            marker="s",
            markersize=6,
            color=COLORS.ink,
            linestyle="none",
            clip_on=False,
            zorder=4,
        )
        return Named(f"{self.base[0]} (base)", x, y, COLORS.ink, 0)

    def _set_ticks(self, axes: Axes) -> None:
        """Round sizes, as many as can be read."""
        low, high = axes.get_xlim()
        every = [n * 10.0**e for e in range(-6, 7) for n in NICE]
        ticks = [v for v in every if low <= v <= high]
        step = -(-len(ticks) // MOST_TICKS) or 1
        axes.set_xticks(ticks[::step], [f"{v:g}" for v in ticks[::step]])
        axes.set_xticks([], minor=True)
        if self.is_log:
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")


def _settle(axes: Axes) -> None:
    """Give the axes their final place, before names are put beside points."""
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.draw_without_rendering()


def _ends(point: Point) -> tuple[float, ...]:
    """The numbers of a point that must be in the picture."""
    error = 0 if math.isnan(point.error) else point.error
    return (point.loss, point.loss + error, point.loss - error, *(point.spread or ()))
