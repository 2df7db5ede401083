"""The known embeddings of passages, and the results computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile

from ..evaluate.entries import Entry, named_pairs
from ..evaluate.places import Place, in_turn
from ..forward.base import F32
from ..inference.computing import DEFAULT_ACTIVATIONS, ON_CPU, Computing
from ..tokens.texts import Tokens
from .figures import F64, Places, cosine_distance, nearest, units
from .measurement import EmbeddingMeasurement, EmbeddingText
from .results import EmbeddingComparison
from .summary import macro_average, measurement

__all__ = ["Known", "NamedPassages", "Timed"]


@dataclass(frozen=True)
class NamedPassages:
    """A named text, cut into passages."""

    name: str
    passages: tuple[Tokens, ...]


@dataclass(frozen=True, eq=False)
class Timed:
    """The embedding of a passage, f32 [components], and the seconds that it took."""

    vector: F32
    seconds: float


@dataclass(frozen=True, eq=False)
class _Row:
    """The row of an entry on a text, and what it is computed from.

    Attributes:
        measurement: the row.
        distances: of the passages to the base.
        knows_nearest: whether the row says which passages are the nearest.
    """

    measurement: EmbeddingMeasurement
    distances: F64
    knows_nearest: bool


@dataclass
class Known:
    """Entries, texts, and the embeddings that are known so far.

    Attributes:
        model: names of the models.
        entries: the entries, the base first.
        texts: the texts.
        ctx: the maximum number of tokens of a passage.
        pooling: how the base pools.
        activations: the requested precision of activations.
        computing: where models compute.
        timed: entry name -> place -> embedding and seconds.
        quantize_seconds: entry name -> seconds to quantize.
    """

    model: str
    entries: Sequence[Entry]
    texts: Sequence[NamedPassages]
    ctx: int
    pooling: str
    activations: str = DEFAULT_ACTIVATIONS
    computing: Computing = ON_CPU
    timed: dict[str, dict[Place, Timed]] = field(init=False)
    quantize_seconds: dict[str, float] = field(default_factory=dict)
    _rows: dict[tuple[str, int], _Row] = field(default_factory=dict)
    _nearest: dict[int, Places] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timed = {entry.name: {} for entry in self.entries}

    @property
    def base(self) -> Entry:
        """The entry that the others are compared with."""
        return self.entries[0]

    @property
    def n_places(self) -> int:
        """The number of passages, of all texts."""
        return sum(len(text.passages) for text in self.texts)

    def places(self) -> list[Place]:
        """All passages: the first of each text, then the second of each, and so on."""
        return in_turn(len(text.passages) for text in self.texts)

    def left(self, entry: Entry) -> list[Place]:
        """The passages of which this entry has no embedding yet."""
        return [p for p in self.places() if p not in self.timed[entry.name]]

    def comparison(self, *, with_nearest: bool) -> EmbeddingComparison | None:
        """The results of the entries that have an embedding of each text.

        None if the base is not one of them.

        Args:
            with_nearest: also say of entries that are not finished how often the
                nearest passage stays the same, which takes long for many passages.
        """
        begun = [entry for entry in self.entries if self._is_begun(entry)]
        if self.base not in begun:
            return None
        n_texts = range(len(self.texts))
        found = [[self._row(e, t, with_nearest) for t in n_texts] for e in begun]
        base, *others = [[row.measurement for row in rows] for rows in found]
        distances = {
            entry.name: [row.distances for row in rows]
            for entry, rows in zip(begun, found, strict=True)
        }
        texts = [
            EmbeddingText(
                text.name, base[t].passages, base[t], [rows[t] for rows in others]
            )
            for t, text in enumerate(self.texts)
        ]
        average = macro_average(base)
        return EmbeddingComparison(
            model=self.model,
            text=self.texts[0].name if len(self.texts) == 1 else "macro average",
            ctx=self.ctx,
            passages=average.passages,
            pooling=self.pooling,
            activations=self.activations,
            base=average,
            results=[macro_average(rows) for rows in others],
            texts=texts,
            distances=distances,
            fallbacks={entry.name: entry.fallbacks for entry in begun},
            weighed=named_pairs(begun, Entry.weighs_what),
            device=self.computing.described,
        )

    def _is_begun(self, entry: Entry) -> bool:
        """Whether the entry has the first passage of every text."""
        known = self.timed[entry.name]
        return all((t, 0) in known for t in range(len(self.texts)))

    def _row(self, entry: Entry, t: int, with_nearest: bool) -> _Row:
        """The row of an entry on a text, computed again if there are new passages."""
        own, base = self.timed[entry.name], self.timed[self.base.name]
        both = takewhile(lambda i: (t, i) in own and (t, i) in base, count())
        n = len(list(both))
        is_whole = n == len(self.texts[t].passages)
        wanted = (with_nearest or is_whole) and n > 1
        row = self._rows.get((entry.name, t))
        if (
            row is None
            or row.measurement.passages != n
            or (wanted and not row.knows_nearest)
        ):
            row = self._rows[entry.name, t] = self._made(entry, t, n, wanted)
        return row

    def _made(self, entry: Entry, t: int, n: int, wants_nearest: bool) -> _Row:
        """The row of an entry on the first n passages of a text."""
        base, own = (self._units(e, t, n) for e in (self.base, entry))
        distances = cosine_distance(own, base)
        near = beside = None
        if wants_nearest:
            beside = self._nearest.get(t)
            if beside is None or len(beside) != n:
                beside = self._nearest[t] = nearest(base)
            near = beside if entry is self.base else nearest(own)
        n_tokens = sum(map(len, self.texts[t].passages[:n]))
        seconds = sum(self.timed[entry.name][t, i].seconds for i in range(n))
        row = measurement(
            *(entry, distances, near, beside, n_tokens / seconds),
            self.quantize_seconds.get(entry.name),
        )
        return _Row(row, distances, wants_nearest)

    def _units(self, entry: Entry, t: int, n: int) -> F64:
        """The embeddings of the first n passages of a text, each of length 1."""
        timed = self.timed[entry.name]
        return units([timed[t, i].vector for i in range(n)])
