"""Print and save what `ppl` measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from .measured import Measured

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
        is_fitted: leave out columns that do not fit the terminal.
        versus: the rows that every row is also compared with.
        save: the JSON file to write; None: none.
    """

    format: Format
    cells: Callable[[Any], Cells]
    is_fitted: bool
    versus: tuple[str, ...]
    save: Path | None

    def give(self, result: Measured | None) -> None:
        """Print and save a comparison; do nothing if it is None."""
        if result is None:
            return
        differences = self._differences(result)
        pairs = [*result.gains(), *differences]
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
                if pairs:
                    beside = markdown_table(result.difference_cells(pairs))
                    print_plain(f"\n{beside}")
            case Format.TABLE:
                cells, is_fitted = self.cells(result), self.is_fitted
                shown = measured_parts(result, cells, pairs, is_fitted=is_fitted)
                print_result(*shown)
        if self.save is not None:
            write_whole(self.save, json_text(data) + "\n")

    def brief(self, result: Measured | None) -> Cells | None:
        """The table for the time of the run; None without a result."""
        return None if result is None else self.cells(result)

    def _differences(self, result: Measured) -> list[Any]:
        """Each measured row compared with each measured row of --versus."""
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
    pairs: Sequence[Any] = (),
    *,
    is_fitted: bool = True,
) -> list[Part]:
    """The tables of a comparison, and the lines between and below them.

    Args:
        result: the comparison.
        cells: its table.
        pairs: paired differences for a second table.
        is_fitted: leave out columns that do not fit the terminal.
    """
    width = terminal_width()
    shown = cells.narrowed(width) if is_fitted else cells
    lines = [f"warning: {warning}" for warning in result.warnings]
    if result.errors_over is not None:
        lines.insert(0, f"± is one standard error over {result.errors_over}")
    lines += result.remarks
    left = [name for name in cells.names if name not in shown.names]
    if left:
        lines.append(f"not shown: {', '.join(left)} (--columns all)")
    parts: list[Part] = [shown]
    parts += [part for line in lines for part in wrap(line, width)]
    if pairs:
        parts += ["", result.difference_cells(pairs).narrowed(width)]
    return parts
