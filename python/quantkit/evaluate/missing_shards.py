"""Say which shards are missing, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from ..errors import OptionError
from .places import Place, Share, in_turn
from .shard_files import SavedShard
from .tabulating import TimedScores

__all__ = ["CommandOf", "Measured", "refuse_left", "refuse_missing"]


class Measured(Protocol):
    """What the file of a shard says of how it is measured.

    Attributes:
        share: which shard it is.
        command: the words of the command; None: it was no command.
    """

    @property
    def share(self) -> Share:
        """See above."""

    @property
    def command(self) -> Sequence[str] | None:
        """See above."""


CommandOf: TypeAlias = Callable[[Share, Measured], str | None]
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
    refuse_left(
        [s for s in about.share.all() if _is_missing(s.of(places), timed)],
        [(each.about, each.path) for each in found],
        command_of,
    )


def refuse_left(
    left: Sequence[Share],
    found: Sequence[tuple[Measured, Path]],
    command_of: CommandOf,
) -> None:
    """Refuse to merge if shards are left.

    Args:
        left: those that are missing or not finished.
        found: those that are there, with their files.
        command_of: for the message.

    Raises:
        OptionError: there are some; the message says how they are measured.
    """
    if not left:
        return
    by_number = {about.share.number: (about, path) for about, path in found}
    begun = [by_number[each.number][1] for each in left if each.number in by_number]
    kinds = ["missing"] if len(begun) < len(left) else []
    kinds += ["not finished"] if begun else []
    files = ", ".join(map(str, begun[:MOST_COMMANDS]))
    more = ", ..." if len(begun) > MOST_COMMANDS else ""
    commands = [
        command_of(share, by_number.get(share.number, found[0])[0])
        for share in left[:MOST_COMMANDS]
    ]
    how = "; ".join(each for each in commands if each is not None)
    likewise = "; and so on" if len(left) > MOST_COMMANDS else ""
    raise OptionError(
        f"of {left[0].count} shards, {_ranges([each.number for each in left])} "
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
