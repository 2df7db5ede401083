"""Results as a short line, and as a table in notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from .cells import Cells, html_table
from .visible import html_text

__all__ = ["Displayed"]

LONGEST_LINE = 280
"""Characters of a line after which further fields are left out."""

LONGEST_TEXT = 60
MOST_ITEMS = 4
"""How much of a text and of a list is shown."""


class Displayed:
    """A base class of dataclasses that are shown briefly, however much they hold.

    `repr` is one line: long texts are cut, and of arrays and long lists only the kind
    and the size are shown.  A notebook shows a table with a row per field.  A class
    that has a better table overrides `_shown`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Keep `dataclass` from adding its own `__repr__`, which has no limit."""
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = Displayed.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        parts: list[str] = []
        for name, value in _shown_fields(self):
            if sum(map(len, parts)) > LONGEST_LINE:
                parts.append("...")
                break
            parts.append(f"{name}={brief(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """The tables, for notebooks."""
        return "\n".join(
            html_table(part) if isinstance(part, Cells) else f"<p>{html_text(part)}</p>"
            for part in self._shown()
        )

    def _shown(self) -> Sequence[Cells | str]:
        """Tables and lines for a notebook."""
        rows = [(name, brief(value)) for name, value in _shown_fields(self)]
        return [Cells((type(self).__name__, ""), rows)]


def _shown_fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass that are for users."""
    for each in fields(value):
        if each.repr and not each.name.startswith("_"):
            yield each.name, getattr(value, each.name)


def brief(value: Any) -> str:
    """A value in a few characters.

    Example:
        >>> brief(np.zeros((2, 3))), brief([1, 2, 3, 4, 5]), brief("a" * 100)[-4:]
        ('float64[2, 3]', '[5 int]', "...'")
    """
    if isinstance(value, str | PurePath):
        text = str(value)
        is_long = len(text) > LONGEST_TEXT
        return repr(f"{text[:LONGEST_TEXT]}..." if is_long else text)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return f"{value:.6g}"
    is_on_device = hasattr(type(value), "__cuda_array_interface__")
    if isinstance(value, np.ndarray) or is_on_device:
        return f"{value.dtype}{list(value.shape)}"  # without a look at the items
    if isinstance(value, Mapping):
        return f"{{{len(value)} keys}}" if value else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        ends = "()" if isinstance(value, tuple) else "[]"
        return f"{ends[0]}{_brief_items(list(value))}{ends[1]}"
    if is_dataclass(value) and not isinstance(value, type):
        return _brief_object(value)
    text = repr(value)
    return text if len(text) <= LONGEST_TEXT else f"<{type(value).__name__}>"


def _brief_items(items: list[Any]) -> str:
    """A list: its items if they are few and plain, otherwise how many there are."""
    is_plain = all(isinstance(i, str | int | float | Enum) for i in items)
    if is_plain and len(items) <= MOST_ITEMS:
        text = ", ".join(map(brief, items))
        if len(text) <= LONGEST_TEXT:
            return text
    kinds = {type(item).__name__ for item in items}
    return f"{len(items)} {kinds.pop() if len(kinds) == 1 else 'items'}"


def _brief_object(value: Any) -> str:
    """An object by its class, and by its first field if that is a name."""
    name = next((v for _, v in _shown_fields(value)), None)
    kind = type(value).__name__
    return f"{kind}({brief(name)}, ...)" if isinstance(name, str) else f"{kind}(...)"
