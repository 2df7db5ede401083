"""An extension of griffe: what its reader of docstrings does not know of ours.

"Example:" begins a section, as "Examples:" does.  An entry may describe several names,
"threads, progress: as for `quantize_file`"; it becomes an entry of each.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

__all__ = ["HouseStyle", "with_single_names"]

SEVERAL = re.compile(
    r"""^(?P<indent>\ +)(?P<names>\w+(?:,\ \w+)+):   # an entry of several names
        (?P<text>.*\n?(?:^(?P=indent)\ +.*\n?)*)     # and its further lines""",
    re.MULTILINE | re.VERBOSE,
)
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class HouseStyle(Extension):
    """Changes every docstring before it is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change that of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = with_single_names(obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub("Examples:", text)


def with_single_names(text: str) -> str:
    """The docstring with one name in each entry."""
    return SEVERAL.sub(_entries, text)


def _entries(match: re.Match[str]) -> str:
    names = match["names"].split(", ")
    text = match["text"].rstrip("\n")
    lines = (f"{match['indent']}{name}:{text}" for name in names)
    return "\n".join(lines) + match["text"][len(text) :]
