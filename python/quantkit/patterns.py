"""Regular expressions from files and users, searched in names with bounded work.

Python's `re` tries one way to match after another.  Their number can grow exponentially
with the length of the text, as for (a+)+b.  So the ways are counted first, from the
parsed pattern and the text, and patterns with too many are refused.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from .errors import OptionError, QuantkitError
from .settings import shown

if sys.version_info >= (3, 11):
    from re import _constants as op  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as op
    import sre_parse as parser

__all__ = ["MAX_STEPS", "compiled", "searched"]

MAX_PATTERN = 1 << 14
"""The longest pattern, in characters."""
MAX_STEPS = 10**6
"""The largest number of ways to match that are tried, about 20 ms for one name."""

Ways = dict[int, int]
Error = type[QuantkitError]


def compiled(
    pattern: str, flags: int = 0, error: Error = OptionError
) -> re.Pattern[str]:
    """Compile a pattern.

    Raises:
        QuantkitError: of the class `error`: it is not a regular expression.
    """
    try:
        if not isinstance(pattern, str):
            raise TypeError("it is not a text")
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"it has more than {MAX_PATTERN:,} characters")
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError, TypeError, ValueError) as e:
        raise error(f"{shown(pattern)} is not a regular expression: {e}") from None


def searched(
    pattern: re.Pattern[str], name: str, error: Error = OptionError
) -> re.Match[str] | None:
    """The first match of a compiled pattern in a name, or None.

    Raises:
        QuantkitError: of the class `error`: there may be too many ways to match.
    """
    walk = _Walk(name)
    walk.sequence(_parsed(pattern), dict.fromkeys(range(len(name) + 1), 1))
    if walk.steps > MAX_STEPS:
        raise error(
            f"the pattern {shown(pattern.pattern)} may match {shown(name)} in more "
            f"than {MAX_STEPS:,} ways, which takes too long to search; write it "
            "without repetitions inside of repetitions, and with fewer of them"
        )
    return pattern.search(name)


class _Walk:
    """Counts the ways in which the parts of a pattern may match parts of a text.

    Ways are counted by the place in the text that they have reached.  The counts are
    upper bounds: only single characters are compared with the text.

    Attributes:
        text: its characters, without the difference of case.
        steps: the ways tried so far, also those that match in part only.
    """

    def __init__(self, text: str) -> None:
        self.text = [char.casefold() for char in text]
        self.steps = 0

    def sequence(self, items: Any, ways: Ways) -> Ways:
        """The ways after items, one after another."""
        for item in items:
            self.steps += sum(ways.values())
            if not ways or self.steps > MAX_STEPS:
                break
            kind, given = item
            ways = self._item(kind, given, ways)
        return ways

    def _item(self, kind: Any, given: Any, ways: Ways) -> Ways:
        """The ways after one part of a pattern."""
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, POSSESSIVE):
            least, most, items = given
            return self._repeated(least, most, items, ways)
        if kind in (op.SUBPATTERN, ATOMIC):
            return self.sequence(given[-1] if kind is op.SUBPATTERN else given, ways)
        if kind in (op.BRANCH, op.GROUPREF_EXISTS):
            branches = given[1] if kind is op.BRANCH else given[1:]
            return _added(self.sequence(branch or [], ways) for branch in branches)
        if kind in (op.ASSERT, op.ASSERT_NOT):  # forward or back: from any place
            n_ways = sum(ways.values())
            self.sequence(given[1], dict.fromkeys(range(len(self.text) + 1), n_ways))
            return ways
        if kind is op.AT:
            return ways
        if kind is op.GROUPREF:
            spans = itertools.product(ways.items(), range(len(self.text) + 1))
            return _added({end: n} for (at, n), end in spans if end >= at)
        return self._character(kind, given, ways)

    def _character(self, kind: Any, given: Any, ways: Ways) -> Ways:
        wanted = chr(given).casefold() if kind is op.LITERAL else None
        return {
            at + 1: n
            for at, n in ways.items()
            if at < len(self.text) and wanted in (None, self.text[at])
        }

    def _repeated(self, least: int, most: int, items: Any, ways: Ways) -> Ways:
        after: list[Ways] = []
        for n in range(min(most, least + len(self.text)) + 1):
            if n >= least:
                after.append(ways)
            if n == most or not ways or self.steps > MAX_STEPS:
                break
            ways = self.sequence(items, ways)
        return _added(after)


def _added(all_ways: Iterable[Ways]) -> Ways:
    total: Ways = {}
    for ways in all_ways:
        for place, n in ways.items():
            total[place] = total.get(place, 0) + n
    return total


@lru_cache(maxsize=256)
def _parsed(pattern: re.Pattern[str]) -> Any:
    return parser.parse(pattern.pattern, pattern.flags)


POSSESSIVE, ATOMIC = (
    getattr(op, name, None) for name in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")
)
"""Parts of patterns since Python 3.11."""
