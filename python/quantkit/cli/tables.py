"""Show results as tables in the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .._native import active_backend, backends
from ..cells import Cells

if TYPE_CHECKING:  # each command imports the class of its own results
    from ..evaluate import Comparison
    from ..tasks.convert import ConvertReport
    from ..tasks.info import ModelInfo
    from ..tasks.quantize_report import QuantizeReport
    from ..tasks.verify import Verification

__all__ = [
    "backends_table",
    "cells_table",
    "comparison_table",
    "convert_summary",
    "info_tables",
    "quantize_summary",
    "size",
    "verification_lines",
]

MIB = 1 << 20
MOST_ROWS = 5000
"""Rows of a listing of a file's contents; more take long to lay out."""


def size(n_bytes: int) -> str:
    """Bytes as text in MiB."""
    return f"{n_bytes / MIB:.2f} MiB"


def comparison_table(comparison: Comparison, *, pareto: bool = False) -> Table:
    """One row per type: its size, its perplexity and its cost."""
    table = cells_table(comparison.cells(pareto=pareto))
    if comparison.chunks > len(comparison.texts):  # one chunk has no error
        table.caption = "± is one standard error over chunks"
        table.caption_justify = "left"
    return table


def cells_table(cells: Cells) -> Table:
    """Cells as a table."""
    table = _table(*cells.columns)
    for row in cells.rows:
        table.add_row(*map(Text, row))
    return table


def convert_summary(report: ConvertReport) -> RenderableType:
    """The files and their size; after a dry run, also the list of tensors."""
    total = Text(f"{', '.join(map(str, report.paths))}: {size(report.size_bytes)}")
    if not report.is_dry_run:
        return total
    listing = _table("tensor", ">shape", "type", ">bytes")
    for t in report.tensors:
        shape = " x ".join(map(str, t.shape))
        listing.add_row(t.name, shape, t.type.name, f"{t.n_bytes:,}")
    return Group(listing, total + Text(" (dry run: nothing was written)"))


def quantize_summary(report: QuantizeReport) -> RenderableType:
    """The types in a quantized file, and which tensors fell back to another type.

    After a dry run, also the list of tensors.
    """
    parts: list[RenderableType] = [_types_table(report), _totals(report)]
    if report.is_dry_run:
        listing = _table("tensor", ">shape", "from", "to", ">bytes", "why")
        for t in report.tensors:
            shape = " x ".join(map(str, t.shape))
            why = t.reason + (
                f"; not {t.fallback_from.name}" if t.fallback_from else ""
            )
            types = t.source_type.name, t.type.name
            listing.add_row(t.name, shape, *types, f"{t.n_bytes:,}", Text(why))
        parts.insert(0, listing)
    return Group(*parts)


def _types_table(report: QuantizeReport) -> Table:
    """One row per type, with its errors if measured."""
    is_measured = any(t.errors is not None for t in report.tensors)
    errors = (">RMSE", ">SNR dB", ">max error") if is_measured else ()
    table = _table("type", ">tensors", ">size", *errors)
    for use in report.types:
        row = [use.type.name, str(use.n_tensors), size(use.n_bytes)]
        if use.errors is not None:
            snr = use.errors.snr_db
            row.append(f"{use.errors.rmse:.3g}")
            row.append("-" if snr is None else f"{snr:.2f}")
            row.append(f"{use.errors.largest:.3g}")
        table.add_row(*row)
    return table


def _totals(report: QuantizeReport) -> Text:
    lines = Text(
        f"{', '.join(map(str, report.paths))}: {report.recipe}, "
        f"{size(report.size_bytes)}, {report.bits_per_weight:.3f} bits per weight"
    )
    if report.is_dry_run:
        lines.append(f"\ndry run: nothing was written; {report.size_bytes:,} bytes")
    for line in _fallback_lines(report):
        lines.append(f"\n{line}")
    return lines


def _fallback_lines(report: QuantizeReport) -> list[str]:
    """How many tensors did not get the recipe's type, and why.

    Those without importance are named, because a better matrix would help.
    """
    fitted: Counter[str] = Counter()
    lacking: dict[str, list[str]] = {}
    for t in report.fallbacks:
        assert t.fallback_from is not None  # for mypy; `fallbacks` have one
        change = f"{t.fallback_from.name} -> {t.type.name}"
        block = t.fallback_from.block_size
        if t.shape[-1] % block:
            fitted[f"{change}: rows not a multiple of {block} weights"] += 1
        else:
            lacking.setdefault(f"{change}: no importance", []).append(t.name)
    return [f"{count} tensors {change}" for change, count in fitted.items()] + [
        f"{len(names)} tensors {change}: {', '.join(names)}"
        for change, names in lacking.items()
    ]


def verification_lines(result: Verification) -> Text:
    """Whether a file equals its source quantized again, and what differs."""
    again = f"the source quantized to {result.recipe}"
    if result.is_equal:
        return Text(f"{result.path}: all {result.n_tensors} tensors equal {again}")
    lines = Text(f"{result.path}: differs from {again}")
    for kind, differences in (("tensor", result.tensors), ("key", result.keys)):
        for difference in differences:
            lines.append(f"\n{kind} {difference.name}: {difference.what}")
    return lines


def info_tables(info: ModelInfo, *, tensors: bool) -> RenderableType:
    """The facts about a GGUF file, its types, metadata and optionally tensors."""
    facts = _table("", "", header=False)
    for label, value in _facts(info):
        if value is not None:
            facts.add_row(label, str(value))
    types = _table("type", ">tensors", ">weights", ">size")
    for use in info.types:
        types.add_row(
            use.type.name, str(use.n_tensors), f"{use.n_weights:,}", size(use.n_bytes)
        )
    metadata = _table("key", "type", "value")
    for entry in info.metadata[:MOST_ROWS]:
        metadata.add_row(entry.key, entry.type, Text(entry.text))
    parts: list[RenderableType] = [facts, types, metadata]
    parts += _more_than_shown(len(info.metadata), "keys")
    if tensors:
        listing = _table("tensor", "type", ">shape", ">bytes")
        for tensor in info.tensors[:MOST_ROWS]:
            shape = " x ".join(map(str, tensor.shape))
            listing.add_row(tensor.name, tensor.type.name, shape, f"{tensor.n_bytes:,}")
        parts.append(listing)
        parts += _more_than_shown(len(info.tensors), "tensors")
    return Group(*parts)


def _more_than_shown(n: int, what: str) -> list[RenderableType]:
    """The line after a table that shows the first of n rows only."""
    if n <= MOST_ROWS:
        return []
    return [Text(f"and {n - MOST_ROWS:,} more {what}; --json lists all")]


def _facts(info: ModelInfo) -> list[tuple[str, object]]:
    vocabulary = info.vocabulary and f"{info.vocabulary}, {info.vocabulary_size} tokens"
    return [
        ("file", ", ".join(str(p) for p in info.paths)),
        ("size", size(info.size_bytes)),
        ("GGUF version", info.version),
        ("architecture", info.architecture),
        ("name", info.name),
        ("file type", info.file_type),
        ("weights", f"{info.n_weights:,}"),
        ("bits per weight", f"{info.bits_per_weight:.3f}"),
        ("context", info.context_length),
        ("width", info.embedding_length),
        ("layers", info.block_count),
        ("heads", info.head_count),
        ("key and value heads", info.head_count_kv),
        ("vocabulary", vocabulary),
    ]


def backends_table() -> Table:
    """The built-in backends and which one is active.

    For quantizers it shows the blocks processed at once, for the forward pass the name
    of the variant.
    """
    table = _table("backend", "quantizers", "forward pass", "here")
    active = active_backend()
    for backend in backends():
        able = f"lacks {', '.join(backend.lacks)}" if backend.lacks else "usable"
        lanes = "1 lane" if backend.lanes == 1 else f"{backend.lanes} lanes"
        table.add_row(
            backend.name,
            f"{backend.name}, {lanes}",
            backend.ops or "none",
            "active" if backend == active else able,
        )
    return table


def _table(*columns: str, header: bool = True) -> Table:
    """A plain table; a column whose heading starts with ">" is aligned right."""
    table = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for column in columns:
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return table
