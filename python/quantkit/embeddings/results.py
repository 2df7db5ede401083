"""The result of comparing embeddings: one row per model or type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..by_value import ByValue
from ..cells import Cells
from ..errors import OptionError
from ..evaluate.details import Details
from ..evaluate.pareto import on_front
from ..evaluate.plots import draw_losses
from ..evaluate.presentation import as_frame, csv_text, fallback_lines
from ..files.json_file import without_nan
from ..parameters import check_flags
from .figures import F64
from .measurement import EmbeddingDifference, EmbeddingMeasurement, EmbeddingText
from .plots import distance_losses
from .presentation import difference_cells, embedding_cells
from .summary import paired

__all__ = ["VERSION", "EmbeddingComparison"]

VERSION = 1
"""The version of the JSON, increased when a key changes its meaning."""


@dataclass(frozen=True, eq=False)
class EmbeddingComparison(ByValue):
    """The base and all other entries, in the given order.

    Attributes:
        model: names of the models.
        text: name of the text; "macro average" for several.
        ctx: the maximum number of tokens of a passage.
        passages: number of passages in all texts.
        pooling: how the base makes an embedding of hidden states: "mean", "cls" or
            "last".
        activations: the precision of activations.
        base: the row with which the others are compared.
        results: the other rows; for several texts, each value is the mean over texts
            (`distance_max`: the maximum).
        texts: the rows of each text.
    """

    model: str
    text: str
    ctx: int
    passages: int
    pooling: str
    activations: str
    base: EmbeddingMeasurement
    results: list[EmbeddingMeasurement]
    texts: list[EmbeddingText]
    distances: Mapping[str, Sequence[F64]] = field(repr=False, compare=False)
    """Entry name -> the cosine distances [passages] to the base, of each text."""
    weighed: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """The names of the rows with and without importance, for each type with both."""
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    """Entry name -> which matrices did not get the type's own type, and why."""
    device: str = "cpu"
    """Where models ran: the CPU, or the names of devices and what they are."""
    details: Details | None = field(default=None, repr=False)
    """What a report shows besides; None: it was not asked for."""

    @property
    def rows(self) -> list[EmbeddingMeasurement]:
        """The base and the other rows."""
        return [self.base, *self.results]

    @property
    def errors_over(self) -> str | None:
        """What errors are over: "passages"; None: they are unknown, with one."""
        return "passages" if self.passages > len(self.texts) else None

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures should know."""
        if self.errors_over is not None:
            return []
        return ["one passage has no errors: use a longer text"]

    @property
    def remarks(self) -> list[str]:
        """Lines for below the table: fallbacks of types."""
        return fallback_lines(self.fallbacks)

    def pareto(self) -> list[str]:
        """The names of the results on the Pareto front of size and mean distance.

        A row is not on it if another row is at least as good in both and better in one.
        """
        front = on_front(
            self.results, self.rows, lambda row: (row.size_bytes, row.distance_mean)
        )
        return [row.name for row in front]

    def versus(self, name: str, other: str) -> EmbeddingDifference:
        """The paired difference of two entries, by name: `name` minus `other`.

        Raises:
            OptionError: there is no entry with that name.
        """
        for each in (name, other):
            if each not in self.distances:
                raise OptionError(
                    f"no entry is called {each!r}; there are: "
                    f"{', '.join(self.distances)}"
                )
        return paired(name, other, self.distances[name], self.distances[other])

    def imatrix_gains(self) -> list[EmbeddingDifference]:
        """The differences of each type with importance minus the type without it.

        Negative values mean that importance helps.
        """
        return [self.versus(name, other) for name, other in self.weighed]

    def gains(self) -> list[EmbeddingDifference]:
        """The gains of importance, which `ppl` shows unasked."""
        return self.imatrix_gains()

    def cells(self, *, pareto: bool = False) -> Cells:
        """The rows as a table of text; for several texts, of each and of the average.

        Args:
            pareto: mark the types on the Pareto front; see `pareto`.
        """
        check_flags(pareto=pareto)
        texts = list(self.texts)
        if len(texts) > 1:
            average = self.text, self.passages, self.base, self.results
            texts.append(EmbeddingText(*average))
        return embedding_cells(texts, self.pareto() if pareto else None)

    def difference_cells(self, differences: Sequence[EmbeddingDifference]) -> Cells:
        """Differences of entries as a table of text."""
        return difference_cells(differences)

    def to_csv(self) -> str:
        """`to_records` as CSV; see `Comparison.to_csv`."""
        return csv_text(self.to_records())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values (NaN)."""
        data: dict[str, Any] = {"version": VERSION, "measure": "embeddings"}
        for key in (
            "model",
            "text",
            "ctx",
            "passages",
            "pooling",
            "activations",
            "device",
        ):
            data[key] = getattr(self, key)
        data["base"] = asdict(self.base)
        data["results"] = [asdict(row) for row in self.results]
        data["warnings"] = self.warnings
        data["fallbacks"] = {k: list(v) for k, v in self.fallbacks.items() if v}
        if len(self.texts) > 1:
            data["texts"] = [asdict(text) for text in self.texts]
        if self.weighed:
            data["imatrix_gains"] = [asdict(gain) for gain in self.imatrix_gains()]
        if self.details is not None:
            data["details"] = self.details.to_dict()
        plain: dict[str, Any] = without_nan(data)
        return plain

    def to_records(self) -> list[dict[str, Any]]:
        """A flat record for each row on each text, and for the average of several."""
        texts = [(text.text, [text.base, *text.results]) for text in self.texts]
        if len(texts) > 1:
            texts.append((self.text, self.rows))
        return [{"text": text} | asdict(row) for text, rows in texts for row in rows]

    def to_pandas(self) -> Any:
        """A DataFrame of `to_records`.

        Raises:
            QuantkitError: pandas is not installed.
        """
        return as_frame(self.to_records())

    def plot(self, ax: Any = None) -> Any:
        """Plot cosine distance over size; see `Comparison.plot`."""
        return draw_losses(distance_losses(self), ax)

    def _shown(self) -> list[Cells | str]:
        return [self.cells(pareto=True)]
