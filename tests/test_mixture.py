"""The built-in calibration text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from quantkit.calibrating.mixture import MIXTURE, mixture_texts

SHARES = {
    "chat": 0.07,
    "code": 0.20,
    "languages": 0.08,
    "mathematics": 0.03,
    "prose": 0.20,
    "technical": 0.10,
}
"""The least share of the bytes that each kind of text has."""


def sources() -> list[list[str]]:
    """The rows of the table in SOURCES.md: file, what, from, licence."""
    table = (MIXTURE / "SOURCES.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("path", mixture_texts(), ids=lambda path: path.stem)
def test_a_file_is_text(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert len(text) > 3000
    assert text == text.strip() + "\n"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffd]", text)


def test_sources_name_every_file_once_in_order() -> None:
    assert [row[0] for row in sources()] == [path.name for path in mixture_texts()]


def test_sources_say_what_where_from_and_under_which_licence() -> None:
    licence = re.compile("MIT|public domain|CC0|0BSD")
    for row in sources():
        assert len(row) == 4
        assert all(row), row
        assert licence.search(row[3]), row


def test_every_kind_has_its_share() -> None:
    sizes: Counter[str] = Counter()
    for path in mixture_texts():
        sizes[path.stem.split("_")[0]] += path.stat().st_size
    assert sizes.keys() == SHARES.keys()
    shares = {kind: size / sizes.total() for kind, size in sizes.items()}
    assert {k: s for k, s in shares.items() if s < SHARES[k]} == {}


def test_no_text_is_in_it_twice() -> None:
    lines = Counter(
        line
        for path in mixture_texts()
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line) > 200
    )
    assert [line for line, times in lines.items() if times > 1] == []


def test_it_has_nothing_of_wikitext() -> None:
    """Wikitext marks headings and joined numbers in a way of its own."""
    marks = re.compile(r"^ = .* = $| @[-,.]@ ", re.MULTILINE)
    found = [p.name for p in mixture_texts() if marks.search(p.read_text("utf-8"))]
    assert found == []
