"""Tables of text, independent of how they are displayed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .visible import html_text, visible

__all__ = ["Cells", "html_table", "markdown_table", "markdown_text"]

GAP = 2
"""Spaces between columns in a terminal."""

SPECIAL = re.compile(
    r"[\\`*\[\]<>&|~$@]|:(?!\s|\Z)|(?<!\w)_|_(?!\w)|(?<=www)\.", re.IGNORECASE
)
"""What Markdown would read as code, emphasis, HTML, a link, a formula or an emoji."""


MOST_HTML_ROWS = 40
"""Rows of a table in a notebook."""


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes:
        columns: the headings; a column of numbers starts with ">".
        rows: the cells.
        ranks: of the columns; those with low ranks are kept where not all fit.  Empty:
            the first columns are kept.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    ranks: tuple[int, ...] = ()

    def __repr__(self) -> str:
        names = visible(", ".join(self.names)[:100])
        return f"<Cells: {names}; {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return html_table(self)

    @property
    def names(self) -> list[str]:
        """The headings as they are shown."""
        return [column.removeprefix(">") for column in self.columns]

    def narrowed(self, width: int) -> Cells:
        """The table with as many columns as fit into `width` characters, by rank.

        Columns are `GAP` characters apart.  Those with the lowest rank are always kept.
        """
        cells = [tuple(self.names), *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        ranks = self.ranks or tuple(range(len(widths)))
        kept = [i for i, rank in enumerate(ranks) if rank == min(ranks)]
        left = width + GAP - sum(widths[i] + GAP for i in kept)
        for i in sorted(set(range(len(widths))) - set(kept), key=lambda i: ranks[i]):
            if widths[i] + GAP <= left:
                kept.append(i)
                left -= widths[i] + GAP
        kept.sort()
        return Cells(
            tuple(self.columns[i] for i in kept),
            [tuple(row[i] for i in kept) for row in self.rows],
            tuple(ranks[i] for i in kept),
        )


def markdown_table(cells: Cells) -> str:
    """The cells as a Markdown table, in which they are text and nothing else."""
    headings = [column.removeprefix(">") for column in cells.columns]
    rules = ["---:" if column.startswith(">") else "---" for column in cells.columns]
    lines = [headings, rules, *(map(markdown_text, row) for row in cells.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Text for Markdown, which shows it as it is, on one line."""
    return SPECIAL.sub(r"\\\g<0>", visible(text))


def html_table(cells: Cells, most: int = MOST_HTML_ROWS) -> str:
    """The cells as an HTML table; of more than `most` rows, the first ones."""
    lines = ["<table>", "<tr>", *(f"<th>{html_text(c)}</th>" for c in cells.names)]
    for row in cells.rows[:most]:
        lines += ["</tr>", "<tr>", *(f"<td>{html_text(cell)}</td>" for cell in row)]
    lines += ["</tr>", "</table>"]
    if len(cells.rows) > most:
        lines.append(f"<p>and {len(cells.rows) - most:,} more rows</p>")
    return "\n".join(lines)
