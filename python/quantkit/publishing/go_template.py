"""Write what surrounds messages as a Go template, for Ollama.

Source: Go's text/template; Ollama's template.go and parser.go (August 2026): the
template gets `.System`, all system messages joined, and `.Messages`, which contains
them too; successive messages of one role are joined before.  In a Modelfile, characters
that are not printable are dropped, and three quotation marks end the template.
"""

from __future__ import annotations

import re

from ..visible import visible
from .turns import Place, Turns

__all__ = ["go_template", "is_plain"]

LAST = "$last"


def go_template(turns: Turns) -> str:
    """The template that renders conversations as `turns` does."""
    out = _Writer()
    own = turns.place is Place.OWN_TURN
    if own:
        out.line("if .System")
        _system(out, turns, ".System")
        if turns.head:
            out.line("else")
    out.text(turns.head)
    if own:
        out.line("end")
    out.line("range $i, $_ := .Messages")
    out.line(f"{LAST} := eq (len (slice $.Messages $i)) 1")
    out.line('if eq .Role "user"')
    out.text(turns.user)
    if turns.place in (Place.FIRST_TURN, Place.LAST_TURN):
        where = "le $i 1" if turns.place is Place.FIRST_TURN else LAST
        out.inline(f"if and $.System ({where})")
        _system(out, turns, "$.System")
        out.inline("end")
    out.inline(".Content")
    out.text(turns.user_end)
    _if_text(out, f"if {LAST}", turns.prompt)
    out.line('else if eq .Role "assistant"')
    out.text(turns.answer)
    out.inline(".Content")
    _if_text(out, f"if not {LAST}", turns.answer_end)
    out.line("end")
    out.line("end")
    return out.result


def _system(out: _Writer, turns: Turns, value: str) -> None:
    out.text(turns.system)
    out.inline(value)
    out.text(turns.system_end)


def _if_text(out: _Writer, condition: str, text: str) -> None:
    if text:
        out.inline(condition)
        out.text(text)
        out.inline("end")


def is_plain(text: str) -> bool:
    """Whether a Modelfile can hold a text, between three quotation marks, as it is."""
    return '"""' not in text and all(c == "\n" or visible(c) == c for c in text)


SPECIAL = re.compile(r'\{\{|\{\Z|"""|[^\n]')
"""What may need quoting in a literal text: the start of an action, also of the one that
follows; three quotation marks; each character."""


class _Writer:
    """Joins literal texts and actions, such that lines break where they change nothing.

    An action on a line of its own starts with "{{-", which removes the spaces and line
    breaks before it; so it does only after an action, or after other characters.
    """

    def __init__(self) -> None:
        self.result = ""

    def text(self, literal: str) -> None:
        """Add a literal text."""
        self.result += SPECIAL.sub(_quoted, literal)

    def inline(self, action: str) -> None:
        """Add an action."""
        self.result += f"{{{{ {action} }}}}"

    def line(self, action: str) -> None:
        """Add an action, on a new line if possible."""
        if self.result[-1:].isspace():
            self.inline(action)
        else:
            start = "\n" if self.result else ""
            self.result += f"{start}{{{{- {action} }}}}"


def _quoted(found: re.Match[str]) -> str:
    """A piece of a literal text, or an action that writes it."""
    piece = found[0]
    if "{" not in piece and is_plain(piece):
        return piece
    if piece == "{" and found.end() < len(found.string):
        return piece
    return f'{{{{ "{"".join(map(_escaped, piece))}" }}}}'


def _escaped(char: str) -> str:
    """A character inside a string of Go."""
    if char == '"':
        return r"\""
    return char if is_plain(char) else rf"\U{ord(char):08x}"
