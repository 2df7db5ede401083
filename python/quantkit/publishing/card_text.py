"""The text of a model card: front matter and sections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from .._version import __version__
from ..cells import Cells, markdown_table, markdown_text
from ..evaluate.measurement import Measurement
from ..evaluate.results import Comparison
from ..quantities import bytes_as_text, counted, share_as_text, value_as_text
from ..quantizing.grid import ON_GRID
from ..visible import visible
from .advice import base_name
from .card_files import CardFile
from .making import fenced
from .source import Source

__all__ = ["card_text", "front_matter"]

HUB = "https://huggingface.co/"
WIDE = 10**6
"""Characters in a line of YAML: texts are not broken."""


def front_matter(
    source: Source, quantized_by: str | None, *, importance: bool
) -> dict[str, Any]:
    """The front matter of the card.

    Args:
        source: the model.
        quantized_by: the publisher; None: it is left out.
        importance: a file was made with an importance matrix.
    """
    card = source.card
    tags = [tag for tag in _listed(card.get("tags")) if tag != card.get("pipeline_tag")]
    tags += ["gguf", *(["imatrix"] if importance else [])]
    matter: dict[str, Any] = {}
    if source.repo is not None:
        matter |= {"base_model": source.repo, "base_model_relation": "quantized"}
    if quantized_by is not None:
        matter["quantized_by"] = visible(quantized_by)
    for key in ("license", "license_name", "license_link", "language", "pipeline_tag"):
        if key in card:
            matter[key] = card[key]
    return {**matter, "library_name": "gguf", "tags": list(dict.fromkeys(tags))}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def card_text(
    source: Source,
    matter: Mapping[str, Any],
    files: Sequence[CardFile],
    comparison: Comparison | None,
    sections: Mapping[str, Sequence[str]],
    plot: str | None,
) -> str:
    """The whole card as Markdown.

    Args:
        source: the model.
        matter: the front matter.
        files: the files.
        comparison: what was measured; None: nothing.
        sections: further sections, as lines of Markdown by heading.
        plot: the name of the file with the figure; None: there is none.
    """
    head = yaml.safe_dump(dict(matter), sort_keys=False, allow_unicode=True, width=WIDE)
    title = markdown_text(source.name)
    of = title if source.repo is None else f"[{source.repo}]({HUB}{source.repo})"
    lines = [f"# {title}: GGUF files", "", f"GGUF files of {of}, made with quantkit."]
    lines += ["", "## Files", "", markdown_table(_cells(files, comparison))]
    if comparison is not None:
        lines += ["", *_legend(comparison)]
    if plot is not None:
        lines += ["", f"![KL divergence over size]({plot})"]
    for heading, own in sections.items():
        lines += ["", f"## {heading}", "", *own] if own else []
    sums = [f"{digits}  {name}" for file in files for name, digits in file.checksums]
    lines += ["", "## Checksums (SHA-256)", "", *fenced(sums, "text")]
    return f"---\n{head}---\n\n" + "\n".join(lines) + "\n"


def _cells(files: Sequence[CardFile], comparison: Comparison | None) -> Cells:
    """The table of files; of a comparison, with its base if that is none of them."""
    plain = ("File", "Type", ">Size", ">Bits/weight")
    rows = [_facts(file) for file in files]
    if comparison is None:
        return Cells(plain, rows)
    measured = [
        (*row, *_figures(file.measurement, comparison), file.advice)
        for row, file in zip(rows, files, strict=True)
    ]
    base = comparison.base
    if not any(file.measurement == base for file in files):
        name = f"({base_name(base).removeprefix('the ')})"
        own = (name, base.type, bytes_as_text(base.size_bytes))
        figures = _figures(base, comparison)
        measured.insert(0, (*own, f"{base.bpw:.2f}", *figures, ""))
    columns = (*plain, ">KLD", ">KLD 99.9 %", ">PPL", "When to take it")
    return Cells(columns, measured)


def _facts(file: CardFile) -> tuple[str, ...]:
    return file.name, file.type, bytes_as_text(file.size_bytes), f"{file.bpw:.2f}"


def _figures(row: Measurement | None, comparison: Comparison) -> tuple[str, str, str]:
    """The divergence, its 99.9th percentile, and the perplexity."""
    if row is None:
        return "", "", ""
    if row == comparison.base:
        return "", "", value_as_text(row.ppl, row.ppl_error)
    kld = value_as_text(row.kld_mean, row.kld_mean_error)
    error = None if math.isnan(row.ppl_ratio_error) else row.ppl_ratio_error
    ppl = f"{row.ppl:.2f} ({share_as_text(row.ppl_ratio - 1, error)})"
    return kld, value_as_text(row.kld_p99_9, None), ppl


def _legend(comparison: Comparison) -> list[str]:
    """What the figures are, and what they were measured on."""
    text = f"{counted(comparison.chunks, 'chunk')} of {comparison.ctx} tokens"
    base = base_name(comparison.base)
    lines = [
        f"KLD: mean KL divergence from {base} per token, in nats; 0 means the same "
        "predictions. KLD 99.9 %: what 99.9 % of the tokens stay below. PPL: "
        "perplexity, less is better, and its paired difference from that of "
        f"{base}. ± is one standard error over chunks. Measured with quantkit "
        f"{__version__} on {markdown_text(comparison.text)}, {text}; other texts give "
        "other figures."
    ]
    grid = [ON_GRID] if comparison.on_grid else []
    for warning in (*comparison.warnings, *comparison.remarks, *grid):
        lines += ["", f"Note: {markdown_text(warning)}"]
    return lines
