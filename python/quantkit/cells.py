"""A table of text, before it is known where it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Cells", "markdown_table"]


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes:
        columns: the headings; one that starts with ">" is of numbers.
        rows: the cells.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def narrowed(self, width: int) -> Cells:
        """Without so many of the columns at the end that lines have `width` characters.

        The first column stays.
        """
        cells = [self.columns, *self.rows]
        widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
        n = len(widths)
        while n > 1 and sum(widths[:n]) > width:
            n -= 1
        return Cells(self.columns[:n], [row[:n] for row in self.rows])


def markdown_table(cells: Cells) -> str:
    """The cells as a table in Markdown."""
    headings = [column.removeprefix(">") for column in cells.columns]
    rules = ["---:" if column.startswith(">") else "---" for column in cells.columns]
    lines = [headings, rules, *(map(_escaped, row) for row in cells.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
