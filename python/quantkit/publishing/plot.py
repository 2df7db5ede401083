"""The figure of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..evaluate.plots import kld_losses
from ..evaluate.results import Comparison
from ..files.whole_file import write_whole

__all__ = ["PLOT", "write_plot"]

PLOT = "kld-over-size.svg"
SIZE = 7.5, 4.5
"""Inches."""


def write_plot(
    comparison: Comparison, shown: Mapping[str, str], path: Path
) -> str | None:
    """Write the figure of size and KL divergence; returns its name.

    None: Matplotlib is not installed, or nothing was measured beside the base.

    Args:
        comparison: what to draw.
        shown: how to name its rows.
        path: the file, *.svg.

    Raises:
        OutputError: it cannot be written.
    """
    if find_spec("matplotlib") is None or not comparison.results:
        return None
    from ..plotting.canvas import image_bytes

    losses = kld_losses(comparison)
    named = [replace(point, name=shown[point.name]) for point in losses.points]
    draw = replace(losses, points=named).draw_on
    write_whole(path, image_bytes(draw, *SIZE, "svg", facecolor="white"))
    return path.name
