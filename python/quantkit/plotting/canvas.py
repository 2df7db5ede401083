"""Figures and axes of Matplotlib, which is an extra, and their style."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from ..errors import OptionError
from ..extras import needed
from ..visible import visible
from .colors import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Draw", "given_axes", "image_bytes", "label", "new_figure", "style_axes"]

Draw = Callable[["Figure"], object]
"""Draws on an empty figure, which has a width and a height."""

FONT_POINTS = 9
LONGEST_NAME = 28
"""Characters of a name in a figure; tables have all of it."""

LAYOUT = {"w_pad": 0.02, "h_pad": 0.03}
PNG_DPI = 200


def given_axes(ax: Any) -> Axes:
    """A user's axes; for None, new ones in a figure of pyplot's, which notebooks show.

    Raises:
        OptionError: `ax` is something else.
        QuantkitError: Matplotlib is not installed.
    """
    if ax is not None and not isinstance(ax, needed("matplotlib.axes", "plot").Axes):
        raise OptionError(f"`ax` is {ax!r}; expected Matplotlib axes")
    if ax is not None:
        return cast("Axes", ax)
    pyplot = needed("matplotlib.pyplot", "plot")
    axes: Axes = pyplot.subplots()[1]
    return axes


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that no window shows.

    Args:
        width, height: in inches.

    Raises:
        QuantkitError: Matplotlib is not installed.
    """
    made: Figure = needed("matplotlib.figure", "plot").Figure(
        (width, height), layout="constrained"
    )
    engine = made.get_layout_engine()
    if engine is not None:
        engine.set(**LAYOUT)
    return made


def image_bytes(
    draw: Draw, width: float, height: float, format: str, **options: Any
) -> bytes:
    """A figure as a file.

    Args:
        draw: draws it.
        width, height: in inches.
        format: "png" or "svg".
        options: others of Matplotlib's `savefig`.
    """
    rc_context = needed("matplotlib", "plot").rc_context
    file = BytesIO()
    # The same input gives the same file; text stays text, in the fonts of the reader.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "quantkit"}
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names in letters of other fonts
        figure = new_figure(width, height)
        draw(figure)
        about = {"Date": None} if format == "svg" else {}
        figure.savefig(file, format=format, dpi=PNG_DPI, metadata=about, **options)
    return file.getvalue()


def style_axes(axes: Axes) -> None:
    """Few lines, and colors that are known by name; see `colors`."""
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(COLORS.rule)
    axes.tick_params(
        which="both",
        color=COLORS.rule,
        labelcolor=COLORS.muted,
        labelsize=FONT_POINTS,
    )
    axes.grid(True, which="major", color=COLORS.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(COLORS.muted)
        axis.label.set_fontsize(FONT_POINTS)


def label(name: str) -> str:
    """A name as it is shown in a figure: visible, and not too long."""
    text = visible(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
