"""Figures of a report, with captions."""

from __future__ import annotations

from collections.abc import Sequence

from ..plotting.losses import MIB, Losses
from ..plotting.strips import MOST_DOTS, Strip, draw_strips, is_wide
from .page import Figure

__all__ = ["loss_figure", "strip_figure"]

ROW_INCHES = 0.24
MANY = 12
"""Points; with more, some names may find no room."""


def loss_figure(key: str, losses: Losses, title: str, caption: str) -> Figure:
    """Size against loss.

    Args:
        key: see `Figure`.
        losses: what it shows.
        title: see `Figure`.
        caption: what dots and lines mean, beside what all such figures have.
    """
    text = "; ".join(
        f"{p.name}: {p.size_bytes / MIB:.1f} MiB, {p.loss:.4g}" for p in losses.points
    )
    colors = "Blue: on the Pareto front of size and loss; gray: not."
    if any(point.is_chosen for point in losses.points):
        colors += " Orange: the chosen type."
    if len(losses.points) > MANY:
        colors += " A name that would cover another one is left out."
    if losses.beyond:
        hidden = (f"{point.name} ({point.loss:.4g})" for point in losses.beyond)
        colors += f" Beyond the axis: {', '.join(hidden)}."
    return Figure(
        key,
        title,
        f"{caption} {colors} The square is the base.",
        losses.draw_on,
        5.0,
        4.3,
        text,
    )


def strip_figure(strips: Sequence[Strip]) -> Figure:
    """The change of the perplexity of each chunk."""
    height = max(len(strips), 3) * ROW_INCHES + 0.6
    most = max((len(strip.values) for strip in strips), default=0)
    caption = (
        "A dot is a chunk of text: how much its perplexity changes, compared with the "
        "base on the same tokens. The bar is the mean, with one standard error. Dots "
        "on both sides of 0: what a chunk shows is mostly chance."
    )
    if is_wide(strips):
        caption += " The axis is linear to 1 % and logarithmic beyond."
    if most > MOST_DOTS:
        caption += f" Of {most} chunks, {MOST_DOTS} at equal distances are drawn."
    text = "; ".join(f"{strip.name}: {strip.mean:+.2f} %" for strip in strips)
    return Figure(
        "chunks",
        "The change of the perplexity of each chunk",
        caption,
        lambda figure: draw_strips(
            figure.subplots(), strips, "change of the perplexity (%)"
        ),
        height,
        height,
        text,
    )
