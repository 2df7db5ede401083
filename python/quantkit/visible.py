r"""Make text from files safe to show: control characters become visible.

Names, metadata and messages of other libraries can hold characters that command a
terminal, reverse the direction of the text, or are invisible.  `visible` replaces each
by its escape sequence in Python, such as `\x1b`.
"""

from __future__ import annotations

import re

__all__ = ["html_text", "visible"]

INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Characters that `str.isprintable` counts as printable, although they show nothing."""


def visible(text: str) -> str:
    r"""The text with an escape sequence for each character that shows no sign.

    These are control characters (also line breaks), marks of direction, lone
    surrogates, invisible characters, and spaces other than " ".  Backslashes stay as
    they are, so a text that has been made visible does not change again.

    Example:
        >>> visible("name\x1b[2J")
        'name\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() and not INVISIBLE.match(char)
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


def html_text(text: str) -> str:
    """The visible text, escaped for HTML."""
    from html import escape

    return escape(visible(text))
