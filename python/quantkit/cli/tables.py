"""Show results as tables and lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..cells import Cells
from ..quantities import mib_as_text
from ..recipes.fallbacks import LACKS_IMPORTANCE, fallback_reason
from .console import Part

if TYPE_CHECKING:  # each command imports the class of its own results
    from ..calibrating.cost import CalibrationCost
    from ..calibrating.gain import Gain
    from ..tasks.calibration import CalibrationCheck
    from ..tasks.convert import ConvertReport
    from ..tasks.info import ModelInfo
    from ..tasks.quantize_report import QuantizeReport
    from ..tasks.verify import Verification

__all__ = [
    "convert_summary",
    "fallback_lines",
    "info_tables",
    "ppl_change",
    "quantize_summary",
    "verification_lines",
]


def convert_summary(report: ConvertReport) -> list[Part]:
    """The files and their size; after a dry run, also the list of tensors."""
    total = f"{', '.join(map(str, report.paths))}: {mib_as_text(report.size_bytes)}"
    if not report.is_dry_run:
        return [total]
    rows = [
        (t.name, _shape(t.shape), t.type.name, f"{t.n_bytes:,}") for t in report.tensors
    ]
    listing = Cells(("tensor", ">shape", "type", ">bytes"), rows)
    return [listing, f"{total} (dry run: nothing was written)"]


def quantize_summary(report: QuantizeReport) -> list[Part]:
    """The types in a quantized file, and which tensors fell back to another type.

    After a dry run, also the list of tensors.
    """
    listing: list[Part] = []
    if report.is_dry_run:
        rows = [
            (
                *(t.name, _shape(t.shape), t.source_type.name, t.type.name),
                f"{t.n_bytes:,}",
                t.reason + (f"; not {t.fallback_from.name}" if t.fallback_from else ""),
            )
            for t in report.tensors
        ]
        columns = ("tensor", ">shape", "from", "to", ">bytes", "why")
        listing = [Cells(columns, rows)]
    return [*listing, report.cells(), *_gains(report), *_totals(report)]


def _gains(report: QuantizeReport) -> list[Part]:
    """What calibration did for each kind of tensor, and its check; or nothing."""
    kinds: dict[str, list[Gain]] = {}
    for gain in report.gains:
        kinds.setdefault(f"{gain.kind} {gain.type.name}", []).append(gain)
    columns = ("calibrated", ">tensors", ">plain error", ">error", ">change", ">plain")
    rows = [(kind, *_gain_cells(gains)) for kind, gains in kinds.items()]
    parts: list[Part] = [Cells(columns, rows)] if rows else []
    return [*parts, *([] if report.check is None else [_check_line(report.check)])]


def _gain_cells(gains: Sequence[Gain]) -> tuple[str, ...]:
    """The mean errors of some tensors, and how many of them stay plain."""
    known = [
        (gain.before, gain.after)
        for gain in gains
        if gain.before is not None and gain.after is not None
    ]
    plain = sum(bool(gain.kept_plain) for gain in gains)
    if not known:
        return str(len(gains)), "-", "-", "-", str(plain)
    before, after = (sum(each) / len(known) for each in zip(*known, strict=True))
    change = f"{100 * (after / before - 1):+.1f} %" if before else "-"
    return str(len(gains)), f"{before:.3g}", f"{after:.3g}", change, str(plain)


def _check_line(check: CalibrationCheck) -> str:
    """The calibrated file beside plain rounding."""
    error = 100 * check.kld_difference_error / (check.kld_plain or 1)
    spread = f" ± {error:.1f}" if check.chunks > 1 else ""
    chunks = f"{check.chunks} chunk{'s' if check.chunks > 1 else ''}"
    return (
        f"held-out text ({chunks}): KLD {check.kld_plain:.5f} plain, "
        f"{check.kld_calibrated:.5f} calibrated ({100 * check.gain:+.1f}{spread} "
        f"%); PPL {check.ppl_plain:.4f} plain, {check.ppl_calibrated:.4f} "
        f"calibrated ({ppl_change(check)}), {check.ppl_base:.4f} unquantized"
    )


def ppl_change(check: CalibrationCheck) -> str:
    """How much the perplexity of a calibrated file differs from plain rounding's."""
    change = 100 * math.expm1(check.ln_ppl_ratio)
    if check.chunks < 2:
        return f"{change:+.2f} %"
    error = 100 * math.exp(check.ln_ppl_ratio) * check.ln_ppl_ratio_error
    return f"{change:+.2f} ± {error:.2f} %"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _totals(report: QuantizeReport) -> list[str]:
    lines = [
        f"{', '.join(map(str, report.paths))}: {report.recipe}, "
        f"{mib_as_text(report.size_bytes)}, "
        f"{report.bits_per_weight:.3f} bits per weight"
    ]
    if report.is_dry_run:
        lines.append(f"dry run: nothing was written; {report.size_bytes:,} bytes")
    if report.cost is not None:
        lines.append(_cost_line(report.cost))
    return [*lines, *fallback_lines(report)]


def _cost_line(cost: CalibrationCost) -> str:
    """What a calibration will take; rounded, because it is an estimate."""
    minutes = math.ceil(cost.seconds / 60)
    time = f"{minutes} min" if minutes < 100 else f"{cost.seconds / 3600:.1f} h"
    return (
        f"calibration: about {time}, {mib_as_text(cost.memory_bytes)} of memory and "
        f"{mib_as_text(cost.disk_bytes)} of disk beside the file (estimated)"
    )


def fallback_lines(report: QuantizeReport) -> list[str]:
    """How many tensors did not get the recipe's type, and why.

    Those without importance are named, because a better matrix would help.
    """
    fitted: Counter[str] = Counter()
    lacking: dict[str, list[str]] = {}
    for t in report.fallbacks:
        assert t.fallback_from is not None  # for mypy; `fallbacks` have one
        why = fallback_reason(t.fallback_from, t.shape[-1])
        change = f"{t.fallback_from.name} -> {t.type.name}: {why}"
        if why == LACKS_IMPORTANCE:
            lacking.setdefault(change, []).append(t.name)
        else:
            fitted[change] += 1
    return [f"{count} tensors {change}" for change, count in fitted.items()] + [
        f"{len(names)} tensors {change}: {', '.join(names)}"
        for change, names in lacking.items()
    ]


def verification_lines(result: Verification) -> list[str]:
    """Whether a file equals its source quantized again, and what differs."""
    again = f"the source quantized to {result.recipe}"
    if result.is_equal:
        return [f"{result.path}: all {result.n_tensors} tensors equal {again}"]
    return [
        f"{result.path}: differs from {again}",
        *(f"tensor {each.name}: {each.what}" for each in result.tensors),
        *(f"key {each.name}: {each.what}" for each in result.keys),
        *([result.advice] if result.advice else []),
    ]


def info_tables(info: ModelInfo, *, tensors: bool) -> list[Part]:
    """The facts about a GGUF file, its types, metadata and optionally tensors."""
    facts = [(name, str(value)) for name, value in _facts(info) if value is not None]
    types = [
        (
            use.type.name,
            str(use.n_tensors),
            f"{use.n_weights:,}",
            mib_as_text(use.n_bytes),
        )
        for use in info.types
    ]
    metadata = [(entry.key, entry.type, entry.text) for entry in info.metadata]
    parts: list[Part] = [
        Cells(("", ""), facts),
        Cells(("type", ">tensors", ">weights", ">size"), types),
        Cells(("key", "type", "value"), metadata),
    ]
    if tensors:
        rows = [
            (t.name, t.type.name, _shape(t.shape), f"{t.n_bytes:,}")
            for t in info.tensors
        ]
        parts.append(Cells(("tensor", "type", ">shape", ">bytes"), rows))
    return parts


def _facts(info: ModelInfo) -> list[tuple[str, object]]:
    vocabulary = info.vocabulary and f"{info.vocabulary}, {info.vocabulary_size} tokens"
    return [
        ("file", ", ".join(str(p) for p in info.paths)),
        ("size", mib_as_text(info.size_bytes)),
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
