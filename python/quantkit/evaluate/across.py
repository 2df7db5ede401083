"""Compare models with different vocabularies by bits per byte.

Their tokens differ, so perplexities cannot be compared, and predictions have no
divergence from each other.  What can be compared is the information that a text has
under each model, per byte: the negative log likelihoods of the scored tokens in bits,
divided by the bytes that these tokens stand for.  Each model is scored on the second
half of its own chunks, so the scored parts of the text are not quite the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cells import Cells
from ..files.json_file import without_nan
from ..progress import Notify, Progress
from ..quantities import mib_as_text, with_error
from ..tokens.byte_counts import byte_counts
from .entries import Entry
from .known import Known
from .presentation import csv_text
from .run import ComparisonRun

__all__ = ["AcrossResult", "AcrossRow", "AcrossRun", "bits_per_byte"]

F64 = NDArray[np.float64]
VERSION = 1


@dataclass(frozen=True)
class AcrossRow:
    """What a model or type predicts of a text, per byte.

    Attributes:
        name: of the model's file, and of the type.
        type: the type of most weights.
        size_bytes: bytes of the file.
        bpw: bits per weight.
        chunks: number of evaluated sequences.
        bytes_per_token: of the scored tokens.
        bits_per_byte: see above; the mean over texts.
        bits_per_byte_error: one standard error over chunks; NaN for one chunk.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    chunks: int
    bytes_per_token: float
    bits_per_byte: float
    bits_per_byte_error: float


@dataclass(frozen=True)
class AcrossResult:
    """Models with different vocabularies; see `cli.measured.Measured`.

    Attributes:
        model: names of the models.
        text: names of the texts.
        ctx: tokens per sequence.
        rows: a row for each model and type.
        on_grid: the names of models whose weights look dequantized.
        fallbacks: the names of rows, and which matrices got another type.
    """

    model: str
    text: str
    ctx: int
    rows: list[AcrossRow]
    on_grid: Sequence[str]
    fallbacks: Mapping[str, Sequence[str]]

    @property
    def errors_over(self) -> str | None:
        """What errors are over; None if a text has one chunk, and so no error."""
        unknown = any(math.isnan(row.bits_per_byte_error) for row in self.rows)
        return None if unknown else "chunks"

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures should know."""
        told = [
            "the models have different vocabularies: they are compared by bits per "
            "byte (less is better); there is no KLD, and perplexities say nothing"
        ]
        if self.errors_over is None:
            told.append("one chunk has no errors: use more chunks, or a longer text")
        return told

    @property
    def remarks(self) -> list[str]:
        """Lines for below the table: fallbacks of types."""
        return [f"{name}: {line}" for name, of in self.fallbacks.items() for line in of]

    def cells(self, *, sort: str | None = None) -> Cells:
        """The rows as a table; `sort`: "size" or "name"."""
        columns = ("type", ">size", ">bits/weight", ">bits/byte", ">bytes/token")
        rows = self.rows
        if sort is not None:
            key = {"size": "size_bytes", "name": "name"}[sort]
            rows = sorted(rows, key=lambda row: getattr(row, key))
        cells = []
        for row in rows:
            cells.append(
                (
                    *(row.name, mib_as_text(row.size_bytes), f"{row.bpw:.3f}"),
                    with_error(row.bits_per_byte, row.bits_per_byte_error, 4),
                    f"{row.bytes_per_token:.2f}",
                )
            )
        return Cells(columns, cells, (0, 2, 3, 1, 4))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values."""
        data = {
            "version": VERSION,
            "measure": "bits per byte",
            "model": self.model,
            "text": self.text,
            "ctx": self.ctx,
            "results": [asdict(row) for row in self.rows],
            "on_grid": list(self.on_grid),
            "warnings": self.warnings,
            "fallbacks": {k: list(v) for k, v in self.fallbacks.items()},
        }
        plain: dict[str, Any] = without_nan(data)
        return plain

    def to_csv(self) -> str:
        """The rows as CSV."""
        return csv_text([asdict(row) for row in self.rows])


def bits_per_byte(nll: F64, n_bytes: NDArray[np.int64]) -> tuple[float, float]:
    """Bits per byte of a text, and its standard error over chunks.

    The ratio r of two sums over k chunks; its error is that of the mean of the
    residuals (bits - r * bytes), divided by the mean number of bytes.

    Args:
        nll: f64 [chunks, tokens], negative log likelihoods in nats.
        n_bytes: [chunks, tokens], the bytes of each token.
    """
    bits, size = nll.sum(1) / math.log(2), n_bytes.sum(1)
    ratio, k = float(bits.sum() / size.sum()), len(bits)
    if k < 2:
        return ratio, math.nan
    residuals = bits - ratio * size
    return ratio, float(residuals.std(ddof=1) / math.sqrt(k) / size.mean())


class AcrossRun:
    """Measures models one after the other, each with its own vocabulary.

    Args:
        runs: the name of each model, and its comparison with its own types.
    """

    unit = "chunks"

    def __init__(self, runs: Sequence[tuple[str, ComparisonRun]]) -> None:
        self._runs = runs
        self._counts = [byte_counts(run.known.base.source.metadata) for _, run in runs]

    @property
    def known(self) -> Known:
        """The first model; entries of others have other vocabularies."""
        return self._runs[0][1].known

    @property
    def steps_done(self) -> int:
        """The number of measured chunks, over all entries."""
        return sum(run.steps_done for _, run in self._runs)

    @property
    def n_steps(self) -> int:
        """The total number of chunks to measure, over all entries."""
        return sum(run.n_steps for _, run in self._runs)

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> AcrossResult:
        """Measure everything that is not known yet; see `ComparisonRun.run`."""
        for _, run in self._runs:
            run.run(progress, notify)
        found = self.so_far()
        assert found is not None  # for mypy: everything is measured
        return found

    def glance(self) -> AcrossResult | None:
        """The results so far."""
        return self.so_far()

    def so_far(self) -> AcrossResult | None:
        """The results so far; None until the first model has a chunk of every text."""
        rows: list[AcrossRow] = []
        fallbacks: dict[str, Sequence[str]] = {}
        for (name, run), counts in zip(self._runs, self._counts, strict=True):
            found = run.so_far()
            if found is None:
                break
            for entry in run.known.entries:
                if entry.name in found.scores:
                    row = _row(name, entry, run.known, found.scores[entry.name], counts)
                    rows.append(row)
                    if entry.fallbacks:
                        fallbacks[row.name] = entry.fallbacks
        if not rows:
            return None
        texts = self.known.texts
        return AcrossResult(
            ", ".join(run.known.model for _, run in self._runs),
            ", ".join(text.name for text in texts),
            texts[0].chunks.tokens.shape[1],
            rows,
            [name for name, run in self._runs if run.known.on_grid],
            fallbacks,
        )


def _row(
    name: str,
    entry: Entry,
    known: Known,
    scores: Sequence[Any],
    counts: NDArray[np.int64],
) -> AcrossRow:
    """The row of an entry, the mean over texts."""
    found, n_tokens, n_bytes = [], 0, 0
    for text, own in zip(known.texts, scores, strict=True):
        targets = np.stack([text.chunks.targets(i) for i in range(len(own.nll))])
        found.append(bits_per_byte(own.nll, counts[targets]))
        n_tokens += targets.size
        n_bytes += int(counts[targets].sum())
    values, errors = zip(*found, strict=True)
    return AcrossRow(
        name=name if entry.wanted is None else f"{name}:{entry.name}",
        type=entry.main_type.name,
        size_bytes=entry.file_bytes,
        bpw=entry.bits_per_weight,
        chunks=sum(len(own.nll) for own in scores),
        bytes_per_token=n_bytes / n_tokens,
        bits_per_byte=sum(values) / len(values),
        bits_per_byte_error=math.hypot(*errors) / len(errors),
    )
