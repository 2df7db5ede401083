"""Which models are in memory together, and how a chunk's work is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["MEMORY_SHARE", "groups_of", "parts_of"]

T = TypeVar("T")

MEMORY_SHARE = 0.5
"""The share of the available memory that models may take together."""


def groups_of(sizes: Sequence[int], limit: int) -> list[range]:
    """Consecutive groups with sums of at most `limit`; each has one item at least.

    Args:
        sizes: the size of each item.
        limit: in the same unit.

    Returns:
        The numbers of the items of each group.

    Example:
        >>> groups_of([4, 3, 2, 9, 1], 7)
        [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    groups: list[range] = []
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > limit:
            groups.append(range(start, i))
            start, total = i, 0
        total += size
    return [*groups, range(start, len(sizes))] if sizes else groups


def parts_of(items: Sequence[T], n_chunks: int, n_workers: int) -> list[Sequence[T]]:
    """Cut the models of the last chunks such that all workers end early.

    A part evaluates the base again, as one more model.  So chunks are cut only if that
    pays: 3 chunks and 2 workers.

    Args:
        items: the models to measure on each of the chunks.
        n_chunks: the number of chunks, less than `n_workers`.
        n_workers: the number of parts that are worked on at a time.

    Returns:
        The models of each part.

    Example:
        >>> parts_of("abcdefg", 1, 2)
        ['abcd', 'efg']
        >>> parts_of("abcdefg", 3, 4)
        ['abcdefg']
    """

    def duration(n_parts: int) -> int:
        rounds = -(-n_chunks * n_parts // n_workers)
        return rounds * (1 + -(-len(items) // n_parts))

    n_parts = min(range(1, len(items) + 1), key=duration, default=1)
    step = -(-len(items) // n_parts) or 1
    return [items[i : i + step] for i in range(0, len(items), step)] or [items]
