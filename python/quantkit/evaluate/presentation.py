"""Present measurements as text tables, CSV, HTML and plots."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cells import Cells
from ..errors import OptionError
from ..extras import needed
from ..quantities import mib_as_text, with_error
from ..visible import visible
from .measurement import Measurement, TextResult
from .pairs import PairedDifference

__all__ = [
    "COLUMNS",
    "SORTS",
    "as_frame",
    "comparison_cells",
    "csv_text",
    "fallback_lines",
    "refuse_unknown",
    "versus_cells",
]

FORMULA_STARTS = ("=", "+", "-", "@")


def comparison_cells(
    texts: Sequence[TextResult],
    best: Collection[str] | None = None,
    *,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
) -> Cells:
    """One row per entry: size, perplexity, and difference from the base.

    Args:
        texts: the rows of each text; with several texts, their average comes last.
        best: the names to mark in the column "pareto"; None: no such column.
        sort: a key of `SORTS`, to sort the rows after the base by; None: as they are.
        columns: keys of `COLUMNS`; None: all.
    """
    shown = [COLUMNS[key] for key in (COLUMNS if columns is None else columns)]
    names, ranks = ["type"], [0]
    if len(texts) > 1:
        names, ranks = ["text", "type"], [0, 0]
    names += [column.heading for column in shown]
    ranks += [column.rank for column in shown]
    rows = []
    for text in texts:
        order = None if sort is None else SORTS[sort]
        results = text.results if order is None else sorted(text.results, key=order)
        for row in (text.base, *results):
            is_base = row is text.base
            cells = [row.name, *(column.cell(row, is_base) for column in shown)]
            if best is not None:
                cells.append("*" if row.name in best else "")
            rows.append((text.text, *cells) if len(texts) > 1 else tuple(cells))
    if best is not None:
        names, ranks = [*names, "pareto"], [*ranks, 0]
    return Cells(tuple(names), rows, tuple(ranks))


@dataclass(frozen=True)
class Column:
    """A column of a comparison.

    Attributes:
        heading: as in `Cells`.
        rank: as in `Cells`.
        cell: the text of a row; the second argument says whether it is the base.
    """

    heading: str
    rank: int
    cell: Callable[[Measurement, bool], str]


def _beside(cell: Callable[[Measurement], str], of_base: str = "") -> Any:
    """A cell of a comparison with the base."""
    return lambda row, is_base: of_base if is_base else cell(row)


COLUMNS: Mapping[str, Column] = {
    "size": Column(">size", 2, lambda row, _: mib_as_text(row.size_bytes)),
    "bpw": Column(">bits/weight", 6, lambda row, _: f"{row.bpw:.3f}"),
    "ppl": Column(">PPL", 3, lambda row, _: with_error(row.ppl, row.ppl_error, 4)),
    "difference": Column(
        ">PPL difference",
        4,
        _beside(
            lambda row: with_error(row.delta_ppl, row.delta_ppl_error, 4, sign="+"),
            "(base)",
        ),
    ),
    "kld": Column(
        ">KLD", 1, _beside(lambda row: with_error(row.kld_mean, row.kld_mean_error, 6))
    ),
    "kld99.9": Column(">99.9 % KLD", 7, _beside(lambda row: f"{row.kld_p99_9:.4f}")),
    "top": Column(
        ">same top",
        5,
        _beside(
            lambda row: (
                f"{with_error(100 * row.same_top, 100 * row.same_top_error, 2)} %"
            )
        ),
    ),
    "quantize": Column(
        ">quantize",
        8,
        lambda row, _: (
            "" if row.quantize_seconds is None else f"{row.quantize_seconds:.1f} s"
        ),
    ),
    "speed": Column(
        ">measured at", 9, lambda row, _: f"{row.tokens_per_second:.0f} tokens/s"
    ),
}
"""The columns of a comparison by their names in options."""

SORTS: Mapping[str, Callable[[Measurement], Any]] = {
    "size": lambda row: row.size_bytes,
    "kld": lambda row: row.kld_mean,
    "ppl": lambda row: row.ppl,
    "name": lambda row: row.name,
}
"""What rows can be sorted by."""


def refuse_unknown(
    parameter: str, given: Iterable[str], known: Collection[str]
) -> None:
    """Refuse names that are not among the known ones.

    Raises:
        OptionError: there is one.
    """
    for name in given:
        if name not in known:
            raise OptionError(
                f"`{parameter}` is {name!r}; expected one of {', '.join(known)}"
            )


def versus_cells(differences: Sequence[PairedDifference]) -> Cells:
    """One row per pair: the paired differences and their p-values."""
    columns = (
        *("type", "versus", ">PPL difference", ">ln PPL ratio", ">p"),
        *(">KLD difference", ">p"),
    )
    ranks = (0, 0, 3, 4, 3, 1, 1)
    rows = [
        (
            d.name,
            d.versus,
            with_error(d.delta_ppl, d.delta_ppl_error, 4, sign="+"),
            with_error(d.ln_ppl_ratio, d.ln_ppl_ratio_error, 5, sign="+"),
            _probability(d.ppl_p_value),
            with_error(d.kld_difference, d.kld_difference_error, 6, sign="+"),
            _probability(d.kld_p_value),
        )
        for d in differences
    ]
    return Cells(columns, rows, ranks)


def _probability(p: float) -> str:
    return "" if math.isnan(p) else f"{p:.2g}"


def fallback_lines(fallbacks: Mapping[str, Sequence[str]]) -> list[str]:
    """Fallbacks by name of entry as lines, the same ones of several rows as one."""
    names: dict[str, list[str]] = {}
    for name, changes in fallbacks.items():
        for change in changes:
            names.setdefault(change, []).append(name)
    return [f"{', '.join(of)}: {change}" for change, of in names.items()]


def as_frame(records: Sequence[Mapping[str, Any]]) -> Any:
    """A DataFrame of records.

    Raises:
        QuantkitError: pandas is not installed.
    """
    return needed("pandas", "pandas").DataFrame(records)


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
