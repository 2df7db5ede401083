"""Say which shards are missing, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..errors import OptionError
from .places import Place, Share, in_turn
from .shard_files import About, SavedShard
from .tabulating import TimedScores

__all__ = ["CommandOf", "refuse_missing"]

CommandOf: TypeAlias = Callable[[Share, About], str | None]
"""The command that measures a shard, from what is known of that or another one; None:
not known."""

MOST_COMMANDS = 3
"""How many commands are told; the others differ in their numbers only."""


def refuse_missing(
    found: Sequence[SavedShard], timed: TimedScores, command_of: CommandOf
) -> None:
    """Check that all shards are there and finished.

    Args:
        found: the shards, all of the same run.
        timed: their scores.
        command_of: for the message.

    Raises:
        OptionError: one is not; the message says how it is measured.
    """
    about = found[0].about
    places = in_turn(text.chunks for text in about.described.texts)
    shares = [Share(i + 1, about.share.count) for i in range(about.share.count)]
    left = [each for each in shares if _is_missing(each.of(places), timed)]
    if not left:
        return
    by_number = {each.about.share.number: each for each in found}
    given = [by_number[share.number] for share in left if share.number in by_number]
    absent = [str(share.number) for share in left if share.number not in by_number]
    told = [f"{shard.path} is not finished" for shard in given[:MOST_COMMANDS]]
    if len(given) > MOST_COMMANDS:
        told.append(f"nor are {len(given) - MOST_COMMANDS} others")
    if absent:
        told.append(f"of {about.share.count} shards, {_listed(absent)} missing")
    commands = [
        command_of(share, by_number.get(share.number, found[0]).about)
        for share in left[:MOST_COMMANDS]
    ]
    how = "; ".join(each for each in commands if each is not None)
    likewise = "; and so on" if len(left) > MOST_COMMANDS else ""
    raise OptionError(
        f"{'; '.join(told)}. Measure them, then merge again"
        f"{f': {how}{likewise}' if how else ''}"
    )


def _is_missing(places: Sequence[Place], timed: TimedScores) -> bool:
    return any(place not in row for row in timed.values() for place in places)


def _listed(numbers: Sequence[str]) -> str:
    """Such as "3 is" or "3, 5 and 9 are"."""
    *others, last = numbers
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"
