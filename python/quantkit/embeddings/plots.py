"""What figures show of a comparison of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plotting.losses import Losses, Point

if TYPE_CHECKING:  # which draws itself by these
    from .results import EmbeddingComparison

__all__ = ["DISTANCE_NOTE", "distance_losses"]

DISTANCE_NOTE = "dots: mean ± 1 standard error; thin lines: median to 99 %"


def distance_losses(result: EmbeddingComparison, note: str = DISTANCE_NOTE) -> Losses:
    """Size against cosine distance: mean, median and 99 % quantile."""
    best = result.pareto()
    points = [
        Point(
            *(row.name, row.size_bytes, row.distance_mean, row.distance_mean_error),
            is_best=row.name in best,
            spread=(row.distance_median, row.distance_p99),
        )
        for row in result.results
    ]
    return Losses(
        points,
        (result.base.name, result.base.size_bytes),
        "cosine distance from the base",
        note=note,
    )
