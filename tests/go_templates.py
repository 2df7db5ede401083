"""Render the Go templates of Modelfiles: the part of the language that they use.

`tests/test_llamacpp_templates.py` compares it with Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["rendered"]

ACTION = re.compile(r"\s*\{\{-\s*(.*?)\s*\}\}|\{\{\s*(.*?)\s*\}\}")
TERM = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()]+')
FUNCTIONS = {
    "and": lambda a, b: a and b,
    "eq": lambda a, b: a == b,
    "le": lambda a, b: a <= b,
    "len": len,
    "not": lambda a: not a,
    "slice": lambda a, i: a[i:],
}


def rendered(template: str, messages: Sequence[dict[str, str]]) -> str:
    """The text of a conversation, as Ollama renders it."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    values = {"System": system, "Messages": messages}
    pieces = list(_pieces(template))
    out: list[str] = []
    assert _run(pieces, 0, {"$": values, ".": values}, out) == len(pieces)
    return "".join(out)


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    """Texts and actions, in turn."""
    at = 0
    for found in ACTION.finditer(template):
        yield "text", template[at : found.start()]
        yield "action", found[1] or found[2]
        at = found.end()
    yield "text", template[at:]


def _run(
    pieces: list[tuple[str, str]], i: int, names: dict[str, Any], out: list[str]
) -> int:
    """Write pieces up to the end of the block; the index of what ends it."""
    while i < len(pieces):
        kind, piece = pieces[i]
        word, _, rest = piece.partition(" ")
        if kind == "text":
            out.append(piece)
        elif word in ("end", "else"):
            return i
        elif word == "if":
            i = _branch(pieces, i, rest, names, out)
        elif word == "range":
            assert rest == "$i, $_ := .Messages"
            for index, message in enumerate(names["."]["Messages"]):
                item = {key.capitalize(): value for key, value in message.items()}
                own = {**names, "$i": index, ".": item}
                end = _run(pieces, i + 1, own, out)
            i = end
        elif rest.startswith(":= "):
            names[word] = _value(rest.removeprefix(":= "), names)
        else:
            out.append(_value(piece, names))
        i += 1
    return i


def _branch(
    pieces: list[tuple[str, str]],
    i: int,
    condition: str,
    names: dict[str, Any],
    out: list[str],
) -> int:
    """Write the branch that holds; the index of the `end`."""
    is_true = bool(_value(condition, names))
    i = _run(pieces, i + 1, names, out if is_true else [])
    if pieces[i][1] == "end":
        return i
    rest = pieces[i][1].removeprefix("else").strip()
    out = [] if is_true else out
    if rest:
        return _branch(pieces, i, rest.removeprefix("if "), names, out)
    return _run(pieces, i + 1, names, out)


def _value(expression: str, names: dict[str, Any]) -> Any:
    terms = TERM.findall(expression)
    value = _call(terms, names)
    assert not terms
    return value


def _call(terms: list[str], names: dict[str, Any]) -> Any:
    values = []
    while terms and terms[0] != ")":
        values.append(_term(terms, names))
    if not callable(values[0]):
        (value,) = values
        return value
    return values[0](*values[1:])


def _term(terms: list[str], names: dict[str, Any]) -> Any:
    term = terms.pop(0)
    if term == "(":
        value = _call(terms, names)
        assert terms.pop(0) == ")"
        return value
    if term.startswith('"'):
        return json.loads(re.sub(r"\\U0000", r"\\u", term))
    if term.isdigit():
        return int(term)
    if term in FUNCTIONS:
        return FUNCTIONS[term]
    owner, _, field = term.partition(".")
    return names[owner or "."][field] if field else names[owner]
