"""Tables of text, independent of how they are displayed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .visible import visible

__all__ = ["Cells", "markdown_table"]


SPECIAL = re.compile(r"[\\`*\[\]<>&|~$:@]|(?<!\w)_|_(?!\w)|(?<=www)\.", re.IGNORECASE)
"""What Markdown would read as code, emphasis, HTML, a link, a formula or an emoji."""


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes:
        columns: the headings; a column of numbers starts with ">".
        rows: the cells.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def narrowed(self, width: int) -> Cells:
        """The table without the last columns that exceed `width` characters.

        The first column is always kept.
        """
        cells = [self.columns, *self.rows]
        widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
        n = len(widths)
        while n > 1 and sum(widths[:n]) > width:
            n -= 1
        return Cells(self.columns[:n], [row[:n] for row in self.rows])


def markdown_table(cells: Cells) -> str:
    """The cells as a Markdown table, in which they are text and nothing else."""
    headings = [column.removeprefix(">") for column in cells.columns]
    rules = ["---:" if column.startswith(">") else "---" for column in cells.columns]
    lines = [headings, rules, *(map(_escaped, row) for row in cells.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", visible(cell))
