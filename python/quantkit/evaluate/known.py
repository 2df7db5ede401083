"""The known scores of a comparison, and the results computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile

from ..inference.weights import DEFAULT_ACTIVATIONS
from ..tokens.chunks import Chunks
from .entries import Entry, named_pairs
from .likelihood import TokenScores
from .measurement import Measurement, TextResult
from .places import Place, in_turn
from .results import Comparison
from .saved import Timed
from .summary import macro_average, measurement

__all__ = ["Known", "NamedText"]


@dataclass(frozen=True)
class NamedText:
    """A named text, split into chunks."""

    name: str
    chunks: Chunks


@dataclass(frozen=True)
class _Row:
    """The scores of an entry on a text, and the row computed from them."""

    scores: TokenScores
    measurement: Measurement


@dataclass
class Known:
    """The scores that were measured so far.

    Attributes:
        model: the common name of the models.
        entries: the entries, the base first.
        texts: the texts; all have the same chunk length and stride.
        activations: the requested precision of activations.
        on_grid: the names of models whose weights look dequantized.
        timed: entry name -> place -> scores and seconds.
        quantize_seconds: entry name -> seconds to quantize.
    """

    model: str
    entries: Sequence[Entry]
    texts: Sequence[NamedText]
    activations: str = DEFAULT_ACTIVATIONS
    on_grid: Sequence[str] = ()
    timed: dict[str, dict[Place, Timed]] = field(init=False)
    quantize_seconds: dict[str, float] = field(default_factory=dict)
    _rows: dict[tuple[str, int], _Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timed = {entry.name: {} for entry in self.entries}

    def add(self, entry: Entry) -> None:
        """Add an entry that has no scores yet; no other one has its name."""
        self.entries = [*self.entries, entry]
        self.timed[entry.name] = {}

    @property
    def base(self) -> Entry:
        """The entry that the others are compared with."""
        return self.entries[0]

    @property
    def n_places(self) -> int:
        """The number of chunks, of all texts."""
        return sum(len(text.chunks) for text in self.texts)

    def places(self, n_chunks: int | None = None) -> list[Place]:
        """The chunks: the first of each text, then the second of each, and so on.

        Args:
            n_chunks: only so many of each text; None: all.
        """
        lengths = (len(text.chunks) for text in self.texts)
        return in_turn(n if n_chunks is None else min(n, n_chunks) for n in lengths)

    def left(self, *entries: Entry, n_chunks: int | None = None) -> list[Place]:
        """The chunks on which at least one of these entries was not measured."""
        known = [self.timed[entry.name] for entry in entries]
        places = self.places(n_chunks)
        return [p for p in places if any(p not in each for each in known)]

    def comparison(self) -> Comparison | None:
        """The results of the entries that were measured on a chunk of every text.

        None if the base is not one of them.
        """
        if not self._is_begun(self.base):
            return None
        begun = [entry for entry in self.entries if self._is_begun(entry)]
        found = [[self._row(e, t) for t in range(len(self.texts))] for e in begun]
        base, *others = [[row.measurement for row in rows] for rows in found]
        scores = {
            entry.name: [row.scores for row in rows]
            for entry, rows in zip(begun, found, strict=True)
        }
        texts = [
            TextResult(text.name, base[t].chunks, base[t], [rows[t] for rows in others])
            for t, text in enumerate(self.texts)
        ]
        first, average = self.texts[0], macro_average(base)
        return Comparison(
            model=self.model,
            text=first.name if len(self.texts) == 1 else "macro average",
            ctx=first.chunks.tokens.shape[1],
            chunks=average.chunks,
            stride=first.chunks.stride,
            activations=self.activations,
            base=average,
            results=[macro_average(rows) for rows in others],
            texts=texts,
            scores=scores,
            on_grid=self.on_grid,
            fallbacks={entry.name: entry.fallbacks for entry in begun},
            weighed=named_pairs(begun, Entry.weighs_what),
            calibrated=named_pairs(begun, Entry.calibrates_what),
        )

    def _is_begun(self, entry: Entry) -> bool:
        """Whether the entry and the base have the first chunk of every text."""
        known = self.timed[entry.name].keys() & self.timed[self.base.name].keys()
        return all((t, 0) in known for t in range(len(self.texts)))

    def _row(self, entry: Entry, t: int) -> _Row:
        """The row of an entry on a text, recomputed if there are new chunks."""
        own, base = self.timed[entry.name], self.timed[self.base.name]
        both = takewhile(lambda i: (t, i) in own and (t, i) in base, count())
        chunks = [own[t, i] for i in both]
        row = self._rows.get((entry.name, t))
        if row is None or row.measurement.chunks != len(chunks):
            row = self._rows[entry.name, t] = self._made(entry, t, chunks)
        return row

    def _made(self, entry: Entry, t: int, chunks: Sequence[Timed]) -> _Row:
        scores = TokenScores.stacked([chunk.scores for chunk in chunks])
        base = scores
        if entry is not self.base:
            base = self._row(self.base, t).scores.first(len(chunks))
        n_tokens = len(chunks) * self.texts[t].chunks.tokens.shape[1]
        speed = n_tokens / sum(chunk.seconds for chunk in chunks)
        seconds = self.quantize_seconds.get(entry.name)
        return _Row(scores, measurement(entry, scores, base, speed, seconds))
