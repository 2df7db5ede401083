"""Print and save what `ppl` measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Any

import typer

from ..cells import Cells, markdown_table
from ..files.json_file import json_text, without_nan
from ..files.whole_file import write_whole
from .console import Part, print_json, print_plain, print_result, terminal_width
from .measured import Measured, Paired

__all__ = ["Format", "Output", "measured_parts"]


class Format(Enum):
    """How a comparison is printed."""

    TABLE = "a table"
    JSON = "--json"
    CSV = "--csv"
    MARKDOWN = "--markdown"

    @classmethod
    def of(cls, *, json: bool, csv: bool, markdown: bool) -> Format:
        """The format of options, of which at most one is given."""
        if json + csv + markdown > 1:
            raise typer.BadParameter("choose one of --json, --csv and --markdown")
        if json:
            return cls.JSON
        if csv:
            return cls.CSV
        return cls.MARKDOWN if markdown else cls.TABLE


@dataclass(frozen=True)
class Output:
    """Prints and saves a comparison.

    Attributes:
        format: the output format.
        cells: the table of a comparison.
        hint: as for `measured_parts`.
        versus: the rows that every row is also compared with.
        save: the JSON file to write; None: none.
    """

    format: Format
    cells: Callable[[Any], Cells]
    hint: str | None
    versus: tuple[str, ...]
    save: Path | None

    def give(self, result: Measured | None) -> None:
        """Print and save a comparison; do nothing if it is None."""
        if result is None:
            return
        differences, beside = self._differences(result), None
        if isinstance(result, Paired):
            pairs = [*result.gains(), *differences]
            beside = result.difference_cells(pairs) if pairs else None
        data = result.to_dict()
        if differences:
            data["versus"] = [without_nan(asdict(d)) for d in differences]
        match self.format:
            case Format.JSON:
                print_json(data)
            case Format.CSV:
                print_plain(result.to_csv().rstrip("\n"))
            case Format.MARKDOWN:
                print_plain(markdown_table(self.cells(result)))
                if beside is not None:
                    print_plain(f"\n{markdown_table(beside)}")
            case Format.TABLE:
                cells, hint = self.cells(result), self.hint
                print_result(*measured_parts(result, cells, beside, hint=hint))
        if self.save is not None:
            write_whole(self.save, json_text(data) + "\n")

    def brief(self, result: Measured | None) -> Cells | None:
        """The table for the time of the run; None without a result."""
        return None if result is None else self.cells(result)

    def _differences(self, result: Measured) -> list[Any]:
        """Each measured row compared with each measured row of --versus."""
        if not isinstance(result, Paired):
            return []
        measured = [row.name for row in result.rows]
        return [
            result.versus(name, other)
            for other in self.versus
            for name in measured
            if name != other and other in measured
        ]


def measured_parts(
    result: Measured,
    cells: Cells,
    beside: Cells | None = None,
    *,
    hint: str | None = "",
) -> list[Part]:
    """The tables of a comparison, and the lines between and below them.

    Args:
        result: the comparison.
        cells: its table.
        beside: the paired differences, a second table.
        hint: how to get the columns that do not fit the terminal and are left out;
            None: all are shown.
    """
    width = terminal_width()
    shown = cells if hint is None else cells.narrowed(width)
    lines = [f"warning: {warning}" for warning in result.warnings]
    if result.errors_over is not None:
        lines.insert(0, f"± is one standard error over {result.errors_over}")
    lines += result.remarks
    left = [name for name in cells.names if name not in shown.names]
    if left:
        lines.append(f"not shown: {', '.join(left)}{hint}")
    parts: list[Part] = [shown]
    parts += [part for line in lines for part in wrap(line, width)]
    if beside is not None:
        parts += ["", beside.narrowed(width)]
    return parts
