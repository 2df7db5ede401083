"""What figures show of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plotting.losses import Losses, Point
from ..plotting.strips import Strip
from .noise import noise_floor

if TYPE_CHECKING:  # which draws itself by these
    from .results import Comparison

__all__ = ["KLD_NOTE", "chunk_strips", "draw_losses", "kld_losses", "ppl_losses"]

KLD_NOTE = "dots: mean ± 1 standard error; thin lines: median to 99.9 %"


def draw_losses(losses: Losses, ax: Any = None) -> Any:
    """Draw on Matplotlib axes; None: new ones.  Returns the axes.

    Raises:
        OptionError: they are something else.
        QuantkitError: Matplotlib is not installed.
    """
    from ..plotting.canvas import given_axes

    axes = given_axes(ax)
    losses.draw(axes)
    return axes


def kld_losses(
    result: Comparison, chosen: str | None = None, note: str = KLD_NOTE
) -> Losses:
    """Size against KL divergence: mean, median and 99.9 % quantile.

    Args:
        result: the comparison.
        chosen: the name of the row that answers a question of choice.
        note: what dots and lines mean.
    """
    best = result.pareto()
    points = [
        Point(
            *(row.name, row.size_bytes, row.kld_mean, row.kld_mean_error),
            is_best=row.name in best,
            is_chosen=row.name == chosen,
            spread=(row.kld_median, row.kld_p99_9),
        )
        for row in result.results
    ]
    return Losses(
        points,
        (result.base.name, result.base.size_bytes),
        "KL divergence from the base (nats per token)",
        floors=noise_floor(result.activations),
        note=note,
    )


def ppl_losses(result: Comparison, chosen: str | None = None) -> Losses:
    """Size against perplexity; errors are those of the paired difference."""
    best = result.pareto()
    points = [
        Point(
            *(row.name, row.size_bytes, row.ppl, row.delta_ppl_error),
            is_best=row.name in best,
            is_chosen=row.name == chosen,
        )
        for row in result.results
    ]
    return Losses(
        points,
        (result.base.name, result.base.size_bytes),
        "perplexity",
        of_base=result.base.ppl,
        is_log=False,
    )


def chunk_strips(result: Comparison, chosen: str | None = None) -> Sequence[Strip]:
    """The change of the perplexity of each chunk in percent, the smallest row first."""
    best = result.pareto()
    base = result.scores[result.base.name]
    strips = []
    for row in sorted(result.results, key=lambda row: row.size_bytes):
        pairs = zip(result.scores[row.name], base, strict=True)
        changes = [
            one.nll.mean(1) - of.first(len(one.nll)).nll.mean(1) for one, of in pairs
        ]
        strips.append(
            Strip(
                row.name,
                100 * np.expm1(np.concatenate(changes)),
                100 * math.expm1(row.ln_ppl_ratio),
                100 * row.ppl_ratio_error,
                is_best=row.name in best,
                is_chosen=row.name == chosen,
            )
        )
    return strips
