"""Check settings from files: their types, and the ranges of their values.

A `Kind` is what a setting may be.  `checked` returns a value of that kind, or raises an
error that names the file, the key, the value and what was expected.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import FormatError, QuantkitError

__all__ = [
    "COUNT",
    "FLAG",
    "LIST",
    "MAX_COUNT",
    "NULL",
    "OBJECT",
    "REAL",
    "SIZE",
    "TEXT",
    "Kind",
    "checked",
    "either",
    "integer",
    "list_of",
    "number",
    "shown",
    "table_of",
]

MAX_COUNT = 2**31 - 1
"""The largest count, size or token id that GGUF readers support."""
MAX_F32 = 3.4028234663852886e38
MAX_SHOWN = 80


@dataclass(frozen=True)
class Kind:
    """What the value of a setting may be.

    Attributes:
        description: for messages, such as "an integer from 1 to 8".
        accepts: whether a value is of this kind.
    """

    description: str
    accepts: Callable[[Any], bool]


def integer(least: int = 0, most: int = MAX_COUNT) -> Kind:
    """An integer from `least` to `most`; neither `true` nor 1.0 counts as 1."""
    return Kind(
        f"an integer from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )


def number(
    least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf
) -> Kind:
    """A finite number from `least` to `most`, greater than `above`."""

    def accepts(value: Any) -> bool:
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            return False  # also NaN
        return least <= value <= most and bool(value > above)

    limits = [f"from {least:g}"] if math.isfinite(least) else []
    limits += [f"above {above:g}"] if math.isfinite(above) else []
    limits += [f"up to {most:g}"] if math.isfinite(most) else []
    return Kind(" ".join(["a finite number", *limits]), accepts)


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
REAL = number(-MAX_F32, MAX_F32)
"""A finite number of 32 bits."""
TEXT = Kind("a text", lambda value: isinstance(value, str))
NULL = Kind("null", lambda value: value is None)
LIST = Kind("a list", lambda value: isinstance(value, list))
OBJECT = Kind("an object", lambda value: isinstance(value, Mapping))
COUNT = integer(0)
"""A number of things, or a token id."""
SIZE = integer(1)
"""A size that cannot be 0, such as a width."""


def either(*kinds: Kind) -> Kind:
    """A value of any of these kinds."""
    return Kind(
        " or ".join(kind.description for kind in kinds),
        lambda value: any(kind.accepts(value) for kind in kinds),
    )


def list_of(kind: Kind) -> Kind:
    """A list whose items are all of a kind."""
    return Kind(
        f"a list, each item {kind.description}",
        lambda value: isinstance(value, list | tuple) and all(map(kind.accepts, value)),
    )


def table_of(kind: Kind) -> Kind:
    """An object whose values are all of a kind; its keys are texts."""

    def accepts(value: Any) -> bool:
        return (
            isinstance(value, Mapping)
            and all(isinstance(key, str) for key in value)
            and all(map(kind.accepts, value.values()))
        )

    return Kind(f"an object, each value {kind.description}", accepts)


def checked(
    value: Any, kind: Kind, what: str, error: type[QuantkitError] = FormatError
) -> Any:
    """The value, if it is of a kind.

    Args:
        value: the value of the setting.
        kind: what it may be.
        what: the file and key, such as "config.json: hidden_size".
        error: the class of the error.

    Raises:
        QuantkitError: it is not of the kind.
    """
    if not kind.accepts(value):
        raise error(f"{what} is {shown(value)}; expected {kind.description}")
    return value


def shown(value: Any) -> str:
    """A value for messages: short, and without control characters."""
    text = ascii(value) if isinstance(value, bytes) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
