"""What was measured: one row per model or type, and any two of them compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..by_value import ByValue
from ..cells import Cells
from ..errors import OptionError
from .likelihood import TokenScores
from .measurement import Measurement, TextResult
from .pairs import PairedDifference, paired
from .presentation import comparison_cells, csv_text, html_table, kld_plot

__all__ = [
    "VERSION",
    "Comparison",
    "without_nan",
]

VERSION = 1
"""Of the JSON; a key that changes its meaning makes it grow."""

NAMES = ("name", "versus")


@dataclass(frozen=True, eq=False)
class Comparison(ByValue):
    """The base, and every other entry in the order asked for.

    Attributes:
        model: the models.
        text: the text; of several, "macro average".
        ctx: tokens of a sequence.
        chunks: sequences, of all texts.
        stride: tokens between strided windows; None: chunks.
        activations: the precision of activations.
        base: what the others are compared with.
        results: the others; of several texts, every value is the mean of the texts'
            (`kld_max` the largest).
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
    """By name of an entry, the scores [chunks, tokens] of each text."""
    weighed: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Of each type measured with importance and without, the names of both rows."""

    @property
    def rows(self) -> list[Measurement]:
        """The base and the others."""
        return [self.base, *self.results]

    def pareto(self) -> list[str]:
        """The names of the results that no row beats in size and divergence.

        One row beats another if it is worse in neither and better in one.
        """
        return [
            row.name
            for row in self.results
            if not any(_beats(other, row) for other in self.rows)
        ]

    def versus(self, name: str, other: str) -> PairedDifference:
        """Two entries compared with each other, by their names.

        Raises:
            OptionError: nothing was measured under such a name.
        """
        for each in (name, other):
            if each not in self.scores:
                raise OptionError(
                    f"nothing that is measured is called {each!r}; there is: "
                    f"{', '.join(self.scores)}"
                )
        return paired(name, other, self.scores[name], self.scores[other])

    def imatrix_gains(self) -> list[PairedDifference]:
        """What importance changes: each type made with it, versus the same without.

        Below 0 it helps.
        """
        return [self.versus(name, other) for name, other in self.weighed]

    def cells(self, *, pareto: bool = False) -> Cells:
        """The rows as a table of text; of several texts, those of each and the average.

        Args:
            pareto: mark the types that none beats in both size and divergence.
        """
        texts = list(self.texts)
        if len(texts) > 1:
            texts.append(TextResult(self.text, self.chunks, self.base, self.results))
        return comparison_cells(texts, self.pareto() if pareto else None)

    def to_csv(self) -> str:
        """`to_records` as CSV."""
        return csv_text(self.to_records())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: what is not known (NaN) is None."""
        data: dict[str, Any] = {"version": VERSION}
        for key in ("model", "text", "ctx", "chunks", "stride", "activations"):
            data[key] = getattr(self, key)
        data["base"] = asdict(self.base)
        data["results"] = [asdict(row) for row in self.results]
        if len(self.texts) > 1:
            data["texts"] = [asdict(text) for text in self.texts]
        if self.weighed:
            data["imatrix_gains"] = [asdict(gain) for gain in self.imatrix_gains()]
        plain: dict[str, Any] = without_nan(data)
        return plain

    def to_records(self) -> list[dict[str, Any]]:
        """A flat record for each row on each text, and of several their average.

        Where types were made with importance and without, those with it have what it
        changes under keys that start with `imatrix_`.
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
        """What importance changes of a row on some texts, or None under each key."""
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
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.to_records())

    def plot(self, ax: Any = None) -> Any:
        """Draw divergence over size, a point per result, and give the axes.

        Args:
            ax: Matplotlib axes; None: new ones.

        Raises:
            ImportError: Matplotlib is not installed.
        """
        return kld_plot(self.results, self.pareto(), ax)

    def _repr_html_(self) -> str:
        return html_table(self.cells(pareto=True))


def _beats(one: Measurement, other: Measurement) -> bool:
    a, b = (one.size_bytes, one.kld_mean), (other.size_bytes, other.kld_mean)
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def without_nan(value: Any) -> Any:
    """The same with None for NaN, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
