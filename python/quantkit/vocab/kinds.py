"""What values in a tokenizer's files may be, beyond the kinds in `settings`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..settings import Kind, checked

__all__ = [
    "UNICODE",
    "check_each",
    "check_keys",
    "nullable",
    "pair",
    "record",
]

_SURROGATE = re.compile("[\ud800-\udfff]")


def _is_unicode(value: object) -> bool:
    return isinstance(value, str) and (
        value.isascii() or _SURROGATE.search(value) is None
    )


UNICODE = Kind("a text", _is_unicode)
"""A text that UTF-8 can hold; JSON can also spell half of a character."""


def nullable(kind: Kind) -> Kind:
    """A value of this kind, or null."""
    return Kind(
        f"{kind.description}, or null",
        lambda value: value is None or kind.accepts(value),
    )


def pair(description: str, first: Kind, second: Kind) -> Kind:
    """A list of two values, each of its own kind."""
    return Kind(
        description,
        lambda value: (
            isinstance(value, list)
            and len(value) == 2
            and first.accepts(value[0])
            and second.accepts(value[1])
        ),
    )


def record(description: str, **kinds: Kind) -> Kind:
    """An object in which the value of each of these keys is of a kind."""
    return Kind(
        description,
        lambda value: (
            isinstance(value, Mapping)
            and all(kind.accepts(value.get(key)) for key, kind in kinds.items())
        ),
    )


def check_keys(values: Mapping[str, Any], kinds: Mapping[str, Kind], what: str) -> None:
    """Check the values of keys; one that is absent must be of a kind with null.

    Args:
        values: an object from a file.
        kinds: what the value of each key may be.
        what: the file, before the key in messages.

    Raises:
        FormatError: a value is of another kind.
    """
    for key, kind in kinds.items():
        checked(values.get(key), kind, f"{what}{key}")


def check_each(items: Iterable[tuple[object, Any]], kind: Kind, what: str) -> None:
    """Check the items of a list or an object, given with their places.

    Raises:
        FormatError: an item is of another kind; the message names its place.
    """
    for place, item in items:
        if not kind.accepts(item):
            checked(item, kind, f"{what}[{place!r:.80}]")
