"""Present measurements as text tables, CSV, HTML and plots."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from ..cells import Cells
from ..visible import visible
from .measurement import Measurement, TextResult
from .pairs import PairedDifference

__all__ = [
    "comparison_cells",
    "csv_text",
    "html_table",
    "kld_plot",
    "versus_cells",
]

MIB = 1 << 20
FORMULA_STARTS = ("=", "+", "-", "@")


def comparison_cells(
    texts: Sequence[TextResult], best: Collection[str] | None = None
) -> Cells:
    """One row per entry: size, perplexity, and difference from the base.

    Args:
        texts: the rows of each text; with several texts, their average comes last.
        best: the names to mark in the column "pareto"; None: no such column.
    """
    several = len(texts) > 1
    rows = []
    for text in texts:
        for row in (text.base, *text.results):
            cells = _row(row, is_base=row is text.base)
            if best is not None:
                cells += ("*" if row.name in best else "",)
            rows.append((text.text, *cells) if several else cells)
    columns: tuple[str, ...] = (
        *("type", ">size", ">bits/weight", ">PPL", ">difference to the base"),
        *(">KLD", ">same top", ">tokens/s", ">quantize"),
    )
    if several:
        columns = ("text", *columns)
    return Cells(columns if best is None else (*columns, "pareto"), rows)


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
    """A value and its error, if the error is known."""
    text = f"{value:{sign}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"


def versus_cells(differences: Sequence[PairedDifference]) -> Cells:
    """One row per pair: the paired differences and their p-values."""
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


def html_table(cells: Cells) -> str:
    """The cells as an HTML table, for notebooks."""
    lines = ["<table>", "<tr>"]
    lines += [f"<th>{escape(c.removeprefix('>'))}</th>" for c in cells.columns]
    for row in cells.rows:
        texts = [escape(visible(cell)) for cell in row]
        lines += ["</tr>", "<tr>", *(f"<td>{text}</td>" for text in texts)]
    return "\n".join([*lines, "</tr>", "</table>"])


def kld_plot(rows: Sequence[Measurement], best: Collection[str], ax: Any = None) -> Any:
    """Plot KL divergence over size on Matplotlib axes; see `Comparison.plot`."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    for row in rows:
        color = "C0" if row.name in best else "0.6"
        error = 0 if math.isnan(row.kld_mean_error) else row.kld_mean_error
        place = row.size_bytes / MIB, row.kld_mean
        ax.errorbar(*place, yerr=error, fmt="o", color=color)
        ax.annotate(
            *(visible(row.name), place),
            parse_math=False,
            xytext=(5, 5),
            textcoords="offset points",
            fontsize="small",
            color=color,
        )
    ax.set_yscale("log")
    ax.set_xlabel("size (MiB)")
    ax.set_ylabel("KL divergence from the base (nats per token)")
    return ax


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Records with the same keys as CSV with a header; unknown values are empty.

    A text that a spreadsheet would take for a formula starts with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        known = {k: v for k, v in record.items() if v == v and v is not None}
        writer.writerow({k: _as_data(v) for k, v in known.items()})
    return file.getvalue()


def _as_data(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
