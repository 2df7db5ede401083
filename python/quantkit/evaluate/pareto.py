"""The Pareto front of two figures, of which less is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

__all__ = ["on_front"]

Row = TypeVar("Row")


def on_front(
    rows: Iterable[Row],
    others: Sequence[Row],
    figures: Callable[[Row], tuple[float, float]],
) -> list[Row]:
    """The rows than which none of the others is as good in both and better in one."""
    points = [figures(other) for other in others]
    return [row for row in rows if not _is_beaten(figures(row), points)]


def _is_beaten(own: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    return any(a <= own[0] and b <= own[1] and (a, b) != own for a, b in points)
