"""The known scores of a comparison, and its results so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..inference.computing import DEFAULT_ACTIVATIONS, ON_CPU, Computing
from ..tokens.chunks import Chunks
from .described import Described, DescribedRow, DescribedText
from .entries import Entry, named_pairs
from .places import WHOLE, Place, Share, in_turn
from .results import Comparison
from .saved import Timed
from .tabulating import Tabulation

__all__ = ["Known", "NamedText"]


@dataclass(frozen=True)
class NamedText:
    """A named text, split into chunks."""

    name: str
    chunks: Chunks


@dataclass
class Known:
    """The scores that were measured so far.

    Attributes:
        model: the common name of the models.
        entries: the entries, the base first.
        texts: the texts; all have the same chunk length and stride.
        activations: the requested precision of activations.
        on_grid: the names of models whose weights look dequantized.
        share: which of the chunks are measured.
        computing: where models compute.
        timed: entry name -> place -> scores and seconds.
        quantize_seconds: entry name -> seconds to quantize.
    """

    model: str
    entries: Sequence[Entry]
    texts: Sequence[NamedText]
    activations: str = DEFAULT_ACTIVATIONS
    on_grid: Sequence[str] = ()
    share: Share = WHOLE
    computing: Computing = ON_CPU
    timed: dict[str, dict[Place, Timed]] = field(init=False)
    quantize_seconds: dict[str, float] = field(default_factory=dict)
    _described: dict[str, DescribedRow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timed = {entry.name: {} for entry in self.entries}
        self._tabulation = Tabulation(self.timed, self.quantize_seconds)

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
        """The number of chunks to measure, of all texts."""
        return self.share.size(sum(len(text.chunks) for text in self.texts))

    def places(self, n_chunks: int | None = None) -> list[Place]:
        """The chunks to measure: the first of each text, then the second of each ...

        Args:
            n_chunks: only so many of each text; None: all.
        """
        lengths = (len(text.chunks) for text in self.texts)
        chosen = (n if n_chunks is None else min(n, n_chunks) for n in lengths)
        return self.share.of(in_turn(chosen))

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
        return self._tabulation.comparison(self.described(begun))

    def described(self, entries: Sequence[Entry]) -> Described:
        """What is compared, of these entries."""
        first = self.texts[0].chunks
        for entry in entries:
            if entry.name not in self._described:
                self._described[entry.name] = DescribedRow.of(entry)
        return Described(
            model=self.model,
            ctx=first.tokens.shape[1],
            stride=first.stride,
            n_scored=first.n_scored,
            activations=self.activations,
            texts=[DescribedText(text.name, len(text.chunks)) for text in self.texts],
            rows=[self._described[entry.name] for entry in entries],
            on_grid=self.on_grid,
            weighed=named_pairs(entries, Entry.weighs_what),
            calibrated=named_pairs(entries, Entry.calibrates_what),
            device=self.computing.described,
        )

    def _is_begun(self, entry: Entry) -> bool:
        """Whether the entry and the base have the first chunk of every text."""
        known = self.timed[entry.name].keys() & self.timed[self.base.name].keys()
        return all((t, 0) in known for t in range(len(self.texts)))
