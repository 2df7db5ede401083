"""The result of a comparison: one row per model or type, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..by_value import ByValue
from ..cells import Cells
from ..errors import OptionError
from ..files.json_file import without_nan
from ..parameters import check_flags
from .details import Details
from .likelihood import TokenScores
from .measurement import Measurement, TextResult
from .noise import noise_floor
from .pairs import PairedDifference, paired
from .pareto import on_front
from .plots import draw_losses, kld_losses
from .presentation import (
    COLUMNS,
    SORTS,
    as_frame,
    comparison_cells,
    csv_text,
    fallback_lines,
    refuse_unknown,
    versus_cells,
)

__all__ = [
    "VERSION",
    "Comparison",
]

VERSION = 2
"""The version of the JSON, increased when a key changes its meaning."""

NAMES = ("name", "versus")


@dataclass(frozen=True, eq=False)
class Comparison(ByValue):
    """The base and all other entries, in the given order.

    Attributes:
        model: names of the models.
        text: name of the text; "macro average" for several.
        ctx: tokens per sequence.
        chunks: number of sequences in all texts.
        stride: tokens between strided windows; None: chunks.
        activations: the precision of activations.
        base: the row with which the others are compared.
        results: the other rows; for several texts, each value is the mean over texts
            (`kld_max`: the maximum).
        texts: the rows of each text.
    """

    model: str
    text: str
    ctx: int
    chunks: int
    stride: int | None
    activations: str
    base: Measurement
    results: list[Measurement]
    texts: list[TextResult]
    scores: Mapping[str, Sequence[TokenScores]] = field(repr=False, compare=False)
    """Entry name -> the scores [chunks, tokens] of each text."""
    weighed: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """The names of the rows with and without importance, for each type with both."""
    calibrated: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """The same of the rows with and without calibrated rounding."""
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    """Entry name -> which matrices did not get the type's own type, and why."""
    on_grid: Sequence[str] = ()
    """The names of models whose weights look dequantized; see `quantizing.grid`."""
    device: str = "cpu"
    """Where models ran: the CPU, or the names of devices and what they are."""
    details: Details | None = field(default=None, repr=False)
    """What a report shows besides; None: it was not asked for."""

    @property
    def rows(self) -> list[Measurement]:
        """The base and the other rows."""
        return [self.base, *self.results]

    @property
    def errors_over(self) -> str | None:
        """What errors are over: "chunks"; None: they are unknown, with one chunk."""
        return "chunks" if self.chunks > len(self.texts) else None

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures should know."""
        if self.chunks > len(self.texts):
            return []
        return [
            "one chunk has no errors, and its figures may be chance: use more chunks, "
            "or a longer text"
        ]

    @property
    def remarks(self) -> list[str]:
        """Lines for below the table: fallbacks, the same ones of several rows as one.

        Such as "Q2_K: 180 of 211 matrices became Q4_0: rows are not ...".
        """
        return fallback_lines(self.fallbacks)

    def pareto(self) -> list[str]:
        """The names of the results on the Pareto front of size and mean KL divergence.

        A row is not on it if another row is at least as good in both and better in one.
        """
        front = on_front(self.results, self.rows, lambda r: (r.size_bytes, r.kld_mean))
        return [row.name for row in front]

    def versus(self, name: str, other: str) -> PairedDifference:
        """The paired differences of two entries, by name: `name` minus `other`.

        Raises:
            OptionError: there is no entry with that name.
        """
        for each in (name, other):
            if not isinstance(each, str) or each not in self.scores:
                raise OptionError(
                    f"no entry is called {each!r}; there are: {', '.join(self.scores)}"
                )
        return paired(name, other, self.scores[name], self.scores[other])

    def imatrix_gains(self) -> list[PairedDifference]:
        """The differences of each type with importance minus the type without it.

        Negative values mean that importance helps.
        """
        return [self.versus(name, other) for name, other in self.weighed]

    def calibration_gains(self) -> list[PairedDifference]:
        """The differences of each type with calibrated rounding minus without.

        Negative values mean that calibration helps.
        """
        return [self.versus(name, other) for name, other in self.calibrated]

    def gains(self) -> list[PairedDifference]:
        """The gains of importance, and those of calibration."""
        return [*self.imatrix_gains(), *self.calibration_gains()]

    def difference_cells(self, differences: Sequence[PairedDifference]) -> Cells:
        """Differences of entries as a table of text."""
        return versus_cells(differences)

    def cells(
        self,
        *,
        pareto: bool = False,
        sort: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Cells:
        """The rows as a table of text; for several texts, of each and of the average.

        Args:
            pareto: mark the types on the Pareto front; see `pareto`.
            sort: "size", "kld", "ppl" or "name": the order of the rows after the base.
            columns: which columns, such as ["size", "kld"]; None: all.

        Raises:
            OptionError: `sort` or a column is unknown.
        """
        check_flags(pareto=pareto)
        if sort is not None:
            refuse_unknown("sort", [sort], SORTS)
        refuse_unknown("columns", columns or (), COLUMNS)
        texts = list(self.texts)
        if len(texts) > 1:
            texts.append(TextResult(self.text, self.chunks, self.base, self.results))
        best = self.pareto() if pareto else None
        return comparison_cells(texts, best, sort=sort, columns=columns)

    def to_csv(self) -> str:
        """`to_records` as CSV.

        A name that starts with =, +, - or @ gets an apostrophe before it, so that no
        spreadsheet takes it for a formula.
        """
        return csv_text(self.to_records())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values (NaN)."""
        data: dict[str, Any] = {"version": VERSION}
        for key in (
            "model",
            "text",
            "ctx",
            "chunks",
            "stride",
            "activations",
            "device",
        ):
            data[key] = getattr(self, key)
        data["base"] = asdict(self.base)
        data["results"] = [asdict(row) for row in self.results]
        data["noise_floor"] = noise_floor(self.activations)
        data["on_grid"] = list(self.on_grid)
        data["warnings"] = self.warnings
        data["fallbacks"] = {k: list(v) for k, v in self.fallbacks.items() if v}
        if len(self.texts) > 1:
            data["texts"] = [asdict(text) for text in self.texts]
        if self.weighed:
            data["imatrix_gains"] = [asdict(gain) for gain in self.imatrix_gains()]
        if self.calibrated:
            gains = self.calibration_gains()
            data["calibration_gains"] = [asdict(gain) for gain in gains]
        if self.details is not None:
            data["details"] = self.details.to_dict()
        plain: dict[str, Any] = without_nan(data)
        return plain

    def to_records(self) -> list[dict[str, Any]]:
        """A flat record for each row on each text, and for the average of several.

        With importance, the records also have its gains, in keys `imatrix_...`.
        """
        texts = [
            (text.text, [text.base, *text.results], slice(i, i + 1))
            for i, text in enumerate(self.texts)
        ]
        if len(texts) > 1:
            texts.append((self.text, self.rows, slice(None)))
        return [
            {"text": text} | asdict(row) | self._gain_of(row.name, which)
            for text, rows, which in texts
            for row in rows
        ]

    def _gain_of(self, name: str, which: slice) -> dict[str, Any]:
        """The gain of importance for a row on some texts; None for other rows."""
        if not self.weighed:
            return {}
        keys = [key for key in PairedDifference.__annotations__ if key not in NAMES]
        values: dict[str, Any] = dict.fromkeys(keys)
        other = dict(self.weighed).get(name)
        if other is not None:
            scores = self.scores[name][which], self.scores[other][which]
            values = asdict(paired(name, other, *scores))
        return {f"imatrix_{key}": values[key] for key in keys}

    def to_pandas(self) -> Any:
        """A DataFrame of `to_records`.

        Raises:
            QuantkitError: pandas is not installed.
        """
        return as_frame(self.to_records())

    def plot(self, ax: Any = None) -> Any:
        """Plot KL divergence over size: a named point per result, the base, and the
        Pareto line; return the axes.

        Args:
            ax: Matplotlib axes; None: new ones.

        Raises:
            QuantkitError: Matplotlib is not installed.
        """
        return draw_losses(kld_losses(self), ax)

    def _shown(self) -> list[Cells | str]:
        return [self.cells(pareto=True)]
