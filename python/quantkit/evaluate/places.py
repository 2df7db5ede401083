"""The pieces of texts that models are measured on, and their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import OptionError
from ..integers import as_integer

__all__ = ["WHOLE", "Place", "Share", "in_turn", "share_of"]

MOST_SHARES = 10_000
"""The largest number of shares; job arrays have fewer jobs."""

Place = tuple[int, int]
"""(number of the text, number of the chunk or passage)."""


def in_turn(lengths: Iterable[int]) -> list[Place]:
    """The first piece of each text, then the second of each, and so on.

    Args:
        lengths: the number of pieces of each text.
    """
    places = [(t, i) for t, n in enumerate(lengths) for i in range(n)]
    return sorted(places, key=lambda place: place[::-1])


@dataclass(frozen=True)
class Share:
    """Every `count`-th piece, from piece `number` on: one of `count` equal shares.

    Attributes:
        number: from 1 to `count`.
        count: the number of shares.
    """

    number: int
    count: int

    def __str__(self) -> str:
        """Such as "3/16"."""
        return f"{self.number}/{self.count}"

    def size(self, total: int) -> int:
        """The number of its pieces, of so many."""
        return len(range(self.number - 1, total, self.count))

    def all(self) -> list[Share]:
        """All shares of so many."""
        return [Share(i + 1, self.count) for i in range(self.count)]

    def of(self, places: list[Place]) -> list[Place]:
        """The pieces of this share, of all in their order."""
        return places[self.number - 1 :: self.count]


WHOLE = Share(1, 1)
"""All pieces."""


def share_of(shard: object) -> Share:
    """Check the numbers of a shard that a user passes.

    Raises:
        OptionError: they are not two integers, of which the first is from 1 to the
            second.
    """
    if not isinstance(shard, list | tuple) or len(shard) != 2:
        raise OptionError(
            f"`shard` is {shard!r}; expected two integers, such as (3, 16): the third "
            "of 16 shards"
        )
    number, count = (as_integer(each, "shard", 1) for each in shard)
    if count > MOST_SHARES:
        raise OptionError(f"`shard` is one of {count}; expected up to {MOST_SHARES:,}")
    if number > count:
        raise OptionError(
            f"`shard` is {number} of {count}; shards are numbered from 1 to {count}"
        )
    return Share(number, count)
