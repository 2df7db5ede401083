"""Tests of the kinds of settings, and of JSON from files."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from quantkit import FormatError, OptionError
from quantkit.files import json_file
from quantkit.files.json_file import parse_json, read_json
from quantkit.settings import (
    COUNT,
    FLAG,
    SIZE,
    TEXT,
    Kind,
    checked,
    either,
    integer,
    list_of,
    number,
    shown,
    table_of,
)


@pytest.mark.parametrize(
    ("kind", "accepted", "refused"),
    [
        (COUNT, (0, 2**31 - 1), (-1, 2**31, 1.0, True, "1", None, [1])),
        (SIZE, (1,), (0, -1, False)),
        (integer(2, 3), (2, 3), (1, 4)),
        (number(), (-1e300, 0, 2.5), (math.nan, math.inf, 10**400, True, "1")),
        (number(0.5, 1), (0.5, 1, 1.0), (0.4, 1.1)),
        (number(above=0), (1e-9,), (0, 0.0, -1)),
        (FLAG, (True, False), (0, 1, "true", None)),
        (TEXT, ("", "a"), (b"a", 1, None)),
        (either(FLAG, TEXT), (True, "a"), (1, None)),
        (list_of(COUNT), ([], [1], (1, 2)), ([1, "a"], 1, "12", {1: 2})),
        (table_of(TEXT), ({}, {"a": "b"}), ({"a": 1}, {1: "a"}, ["a"])),
    ],
    ids=lambda value: value.description if isinstance(value, Kind) else "",
)
def test_kinds(
    kind: Kind, accepted: tuple[object, ...], refused: tuple[object, ...]
) -> None:
    assert [value for value in accepted if not kind.accepts(value)] == []
    assert [value for value in refused if kind.accepts(value)] == []


def test_checked_names_all_that_is_known() -> None:
    assert checked(3, SIZE, "config.json: n") == 3
    with pytest.raises(FormatError, match=r"^config.json: n is 0; expected an integer"):
        checked(0, SIZE, "config.json: n")
    with pytest.raises(OptionError):
        checked(0, SIZE, "n", OptionError)


def test_shown_is_short_and_printable() -> None:
    assert len(shown("a" * 1000)) == 80
    assert shown("\x1b[2J\u202e").isprintable()
    assert shown(b"\xff\x1b") == "b'\\xff\\x1b'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "utf-8"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "not valid JSON"),
        ("{", "not valid JSON"),
    ],
)
def test_json_that_is_not(text: str | bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        parse_json(text, "the file")


def test_json_files_that_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_json(tmp_path / "none.json") is None
    path = tmp_path / "a.json"
    path.write_text("[1]")
    with pytest.raises(FormatError, match="holds a list"):
        read_json(path)
    monkeypatch.setattr(json_file, "MAX_JSON_BYTES", 2)
    with pytest.raises(FormatError, match="has 3 bytes"):
        read_json(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.json")
        with pytest.raises(FormatError, match=r"is a FIFO .*a regular file"):
            read_json(tmp_path / "fifo.json")
