"""A comparison as cells of text, as Markdown, CSV and HTML, and as a plot."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # which shows itself as a table
    from .pairs import PairedDifference
    from .results import Comparison, Measurement

__all__ = [
    "Cells",
    "comparison_cells",
    "csv_text",
    "html_table",
    "kld_plot",
    "markdown_table",
    "versus_cells",
]

MIB = 1 << 20


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


def comparison_cells(comparison: Comparison, *, pareto: bool = False) -> Cells:
    """One row per entry: what it takes and what it costs.

    Of several texts, the rows of each and their average.

    Args:
        comparison: what was measured.
        pareto: mark the types that none beats in both size and divergence.
    """
    best = set(comparison.pareto()) if pareto else set()
    texts = [(t.text, [t.base, *t.results]) for t in comparison.texts]
    if len(texts) > 1:
        texts.append((comparison.text, comparison.rows))
    rows = []
    for text, measured in texts:
        for row in measured:
            cells = _row(row, is_base=row is measured[0])
            if pareto:
                cells += ("*" if row.name in best else "",)
            rows.append((text, *cells) if len(texts) > 1 else cells)
    columns: tuple[str, ...] = (
        *("type", ">size", ">bits/weight", ">PPL", ">difference to the base"),
        *(">KLD", ">same top", ">tokens/s", ">quantize"),
    )
    if len(texts) > 1:
        columns = ("text", *columns)
    return Cells((*columns, "pareto") if pareto else columns, rows)


def _row(row: Measurement, *, is_base: bool) -> tuple[str, ...]:
    seconds = row.quantize_seconds
    compared = ("(base)", "", "")
    if not is_base:
        share = _with_error(100 * row.same_top, 100 * row.same_top_error, 2)
        compared = (
            _with_error(row.delta_ppl, row.delta_ppl_error, 4, sign="+"),
            _with_error(row.kld_mean, row.kld_mean_error, 6),
            f"{share} %",
        )
    return (
        row.name,
        f"{row.size_bytes / MIB:.2f} MiB",
        f"{row.bpw:.3f}",
        _with_error(row.ppl, row.ppl_error, 4),
        *compared,
        f"{row.tokens_per_second:.0f}",
        "" if seconds is None else f"{seconds:.1f} s",
    )


def _with_error(value: float, error: float, digits: int, sign: str = "") -> str:
    """A value and its error, if that is known."""
    text = f"{value:{sign}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"


def versus_cells(differences: Sequence[PairedDifference]) -> Cells:
    """One row per pair: which of the two is better, and whether chance could do it."""
    columns = (
        *("type", "versus", ">PPL difference", ">ln PPL ratio", ">p"),
        *(">KLD difference", ">p"),
    )
    rows = [
        (
            d.name,
            d.versus,
            _with_error(d.delta_ppl, d.delta_ppl_error, 4, sign="+"),
            _with_error(d.ln_ppl_ratio, d.ln_ppl_ratio_error, 5, sign="+"),
            _probability(d.ppl_p_value),
            _with_error(d.kld_difference, d.kld_difference_error, 6, sign="+"),
            _probability(d.kld_p_value),
        )
        for d in differences
    ]
    return Cells(columns, rows)


def _probability(p: float) -> str:
    return "" if math.isnan(p) else f"{p:.2g}"


def markdown_table(cells: Cells) -> str:
    """The cells as a table in Markdown."""
    headings = [column.removeprefix(">") for column in cells.columns]
    rules = ["---:" if column.startswith(">") else "---" for column in cells.columns]
    lines = [headings, rules, *(map(_escaped, row) for row in cells.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")


def html_table(comparison: Comparison) -> str:
    """The comparison as a table in HTML, for notebooks."""
    cells = comparison_cells(comparison, pareto=True)
    lines = ["<table>", "<tr>"]
    lines += [f"<th>{escape(c.removeprefix('>'))}</th>" for c in cells.columns]
    for row in cells.rows:
        lines += ["</tr>", "<tr>", *(f"<td>{escape(cell)}</td>" for cell in row)]
    return "\n".join([*lines, "</tr>", "</table>"])


def kld_plot(comparison: Comparison, ax: Any = None) -> Any:
    """Divergence over size, on Matplotlib axes; see `Comparison.plot`."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    best = set(comparison.pareto())
    for row in comparison.results:
        color = "C0" if row.name in best else "0.6"
        error = 0 if math.isnan(row.kld_mean_error) else row.kld_mean_error
        place = row.size_bytes / (1 << 20), row.kld_mean
        ax.errorbar(*place, yerr=error, fmt="o", color=color)
        ax.annotate(
            *(row.name, place),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize="small",
            color=color,
        )
    ax.set_yscale("log")
    ax.set_xlabel("size (MiB)")
    ax.set_ylabel("KL divergence from the base (nats per token)")
    return ax


def csv_text(comparison: Comparison) -> str:
    """All figures of each row, with a heading; what is not known is empty."""
    records = comparison.to_records()
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        known = {k: v for k, v in record.items() if v == v and v is not None}
        writer.writerow(known)
    return file.getvalue()
