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
"""How many commands and files are told; the others differ in their numbers only."""


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
    begun = [by_number[each.number] for each in left if each.number in by_number]
    kinds = ["missing"] if len(begun) < len(left) else []
    kinds += ["not finished"] if begun else []
    files = ", ".join(str(each.path) for each in begun[:MOST_COMMANDS])
    more = ", ..." if len(begun) > MOST_COMMANDS else ""
    commands = [
        command_of(share, by_number.get(share.number, found[0]).about)
        for share in left[:MOST_COMMANDS]
    ]
    how = "; ".join(each for each in commands if each is not None)
    likewise = "; and so on" if len(left) > MOST_COMMANDS else ""
    raise OptionError(
        f"of {about.share.count} shards, {_ranges([each.number for each in left])} "
        f"{'is' if len(left) == 1 else 'are'} {' or '.join(kinds)}"
        f"{f' ({files}{more})' if files else ''}. Measure what is left, then merge "
        f"again{f': {how}{likewise}' if how else ''}"
    )


def _is_missing(places: Sequence[Place], timed: TimedScores) -> bool:
    return any(place not in row for row in timed.values() for place in places)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as those of a job array, such as "3,7-9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    ends = (dict.fromkeys((run[0], run[-1])) for run in runs)
    return ",".join("-".join(map(str, each)) for each in ends)
