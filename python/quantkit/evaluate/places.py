"""The pieces of texts that models are measured on, and their order."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Place", "in_turn"]

Place = tuple[int, int]
"""(number of the text, number of the chunk or passage)."""


def in_turn(lengths: Iterable[int]) -> list[Place]:
    """The first piece of each text, then the second of each, and so on.

    Args:
        lengths: the number of pieces of each text.
    """
    places = [(t, i) for t, n in enumerate(lengths) for i in range(n)]
    return sorted(places, key=lambda place: place[::-1])
