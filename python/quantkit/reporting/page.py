"""The parts of a report, independent of how they become HTML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..cells import Cells
from ..plotting.canvas import Draw

__all__ = ["Fact", "Figure", "Notes", "Page", "Section", "Table"]

WIDE, NARROW = 8.8, 3.7
"""Inches: the widths of a figure for a screen and for a phone."""


@dataclass(frozen=True)
class Figure:
    """A figure, drawn twice: for wide screens and for phones.

    Attributes:
        key: its identifier in the page: letters only.
        title: what it shows.
        caption: what its dots, lines and colors mean.
        draw: draws it.
        height, narrow_height: in inches.
        text: its figures as text, for those who do not see it.
    """

    key: str
    title: str
    caption: str
    draw: Draw
    height: float
    narrow_height: float
    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        cells: its cells; the first column names the rows.
        marked: the names of rows that stand out.
    """

    caption: str
    cells: Cells
    marked: Collection[str] = ()


@dataclass(frozen=True)
class Notes:
    """Lines in small print.

    Attributes:
        lines: the lines.
    """

    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading.

    Attributes:
        heading: the heading.
        parts: tables, figures and notes.
    """

    heading: str
    parts: Sequence[Table | Figure | Notes]


@dataclass(frozen=True)
class Fact:
    """How something was measured.

    Attributes:
        name: what it is.
        values: a line for each.
        is_code: lines are commands or hashes.
    """

    name: str
    values: Sequence[str]
    is_code: bool = False


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: the name of the model.
        subtitle: what was measured on what.
        verdict: the answer, in sentences.
        warnings: what a reader of the figures should know.
        sections: the evidence.
        facts: how it was measured.
    """

    title: str
    subtitle: str
    verdict: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]
    facts: Sequence[Fact] = field(default=())
