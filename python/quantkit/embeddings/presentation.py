"""Present comparisons of embeddings as tables of text."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ..cells import Cells
from ..quantities import mib_as_text, with_error
from .measurement import EmbeddingDifference, EmbeddingMeasurement, EmbeddingText

__all__ = ["difference_cells", "embedding_cells"]


def embedding_cells(
    texts: Sequence[EmbeddingText], best: Collection[str] | None = None
) -> Cells:
    """One row per entry: its size, and how far its embeddings are from the base's.

    It fits 80 columns; the other figures are in `to_records`.

    Args:
        texts: the rows of each text; with several texts, their average comes last.
        best: the names to mark in the column "pareto"; None: no such column.
    """
    several = len(texts) > 1
    rows = []
    for text in texts:
        for row in (text.base, *text.results):
            cells = _row(row, is_base=row is text.base)
            if best is not None:
                cells += ("*" if row.name in best else "",)
            rows.append((text.text, *cells) if several else cells)
    columns: tuple[str, ...] = (
        *("type", ">size", ">bpw", ">cosine distance", ">largest", ">same nearest"),
    )
    if several:
        columns = ("text", *columns)
    return Cells(columns if best is None else (*columns, "pareto"), rows)


def _row(row: EmbeddingMeasurement, *, is_base: bool) -> tuple[str, ...]:
    compared = ("(base)", "", "")
    if not is_base:
        compared = (
            with_error(row.distance_mean, row.distance_mean_error, 6),
            with_error(row.distance_max, math.nan, 6),
            _share(row.same_nearest, row.same_nearest_error),
        )
    return (
        row.name,
        mib_as_text(row.size_bytes),
        f"{row.bpw:.3f}",
        *compared,
    )


def _share(value: float, error: float) -> str:
    """A share in percent and its error; nothing if it is unknown."""
    if math.isnan(value):
        return ""
    return f"{with_error(100 * value, 100 * error, 1)} %"


def difference_cells(differences: Sequence[EmbeddingDifference]) -> Cells:
    """One row per pair: the paired difference and its p-value."""
    rows = [
        (
            d.name,
            d.versus,
            with_error(d.distance_difference, d.distance_difference_error, 6, "+"),
            "" if math.isnan(d.distance_p_value) else f"{d.distance_p_value:.2g}",
        )
        for d in differences
    ]
    return Cells(("type", "versus", ">difference of distances", ">p"), rows)
