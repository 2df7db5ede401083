"""A comparison while it is measured: what is done, what is left, what is known so far.

The base goes first, and its hidden states are kept; its head is applied again beside
that of each other model, so that no logits are kept.  Then the others, one after the
other, so that one of them is in memory beside the base's head.  A chunk is one task of
one worker.  Chunks are taken from all texts in turn: the first of each, the second ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from .._native import active_backend
from .._version import __version__
from ..errors import QuantkitError
from ..execution.opened import Shared
from ..execution.workers import Workers, workers_of
from ..files.identity import hash_pieces
from ..forward.base import Head, Model
from ..inference.shared import share_model
from ..inference.weights import precision_named
from ..progress import Progress
from ..tokens.chunks import Chunk
from .entries import Entry
from .known import Known, Place
from .results import Comparison
from .saved import SavedScores, Timed
from .scoring import Alone, Beside, HeadOpener, score_base, score_beside
from .store import HiddenStore

__all__ = ["ComparisonRun"]


@dataclass(frozen=True)
class _Kept:
    """What is kept of the base: all that the others are compared with."""

    head: Shared[Head]
    store: HiddenStore
    number: Mapping[Place, int]


class ComparisonRun:
    """Measures entries on texts; `run` does it, `so_far` tells at any time.

    Args:
        known: what is compared, on what, and what is known of it.
        threads: chunks evaluated at a time; None: one per core.
        save: where scores are kept for a later run; None: nowhere.

    Attributes:
        known: as given; it grows.
    """

    def __init__(
        self,
        known: Known,
        threads: int | Workers | None = None,
        save: Path | None = None,
    ) -> None:
        self.known = known
        self._workers = workers_of(threads)
        self._save = save
        self._saved: SavedScores | None = None
        self._keys: dict[str, str] = {}

    @property
    def steps_done(self) -> int:
        """How many chunks are measured, over all entries."""
        return sum(map(len, self.known.timed.values()))

    @property
    def n_steps(self) -> int:
        """How many there are to measure."""
        return len(self.known.entries) * len(self.known.places())

    def so_far(self) -> Comparison | None:
        """What is known; None as long as the base has no chunk of every text."""
        return self.known.comparison()

    def run(self, progress: Progress | None = None) -> Comparison:
        """Measure all that is not known yet.

        Args:
            progress: told about every slab quantized and every chunk evaluated.
        """
        with SavedScores(self._save) if self._save else nullcontext() as self._saved:
            self._recall()
            left = self.known.left(*self.known.entries)
            if left:
                self._measure(left, progress)
        result = self.so_far()
        assert result is not None  # for mypy; every chunk is measured
        return result

    def _recall(self) -> None:
        """Take over what an earlier run measured."""
        if self._saved is None:
            return
        where = f"{__version__} {active_backend().name}"
        base = f"{where} {self.known.base.identity}".encode()
        for entry in self.known.entries:
            own = hash_pieces([entry.identity.encode(), base])
            self._keys[entry.name] = own
            seconds = self._saved.seconds(own)
            if seconds is not None:
                self.known.quantize_seconds[entry.name] = seconds
            for place in self.known.places():
                timed = self._saved.scores(self._key(entry, place))
                if timed is not None:
                    self.known.timed[entry.name][place] = timed

    def _key(self, entry: Entry, place: Place) -> str:
        """What the scores of an entry on a chunk are saved under."""
        chunks = self.known.texts[place[0]].chunks
        precisions = f"{entry.activations} {self.known.base.activations}"
        how = f"{chunks.n_scored} {precisions}"
        pieces = [self._keys[entry.name].encode(), how.encode()]
        return hash_pieces([*pieces, chunks.inputs(place[1]).tobytes()])

    def _measure(self, left: Sequence[Place], progress: Progress | None) -> None:
        """Measure the base on some chunks, and each entry on those that it lacks."""
        base, name = self._load(self.known.base, progress), self.known.base.name
        width = base.value.head.shape[1]
        shape = self.known.texts[0].chunks.n_scored, width
        with HiddenStore(len(left), shape) as store:
            number = {place: i for i, place in enumerate(left)}
            kept = _Kept(_head_of(base), store, number)
            work = (Alone(name, base, self._chunk(place)) for place in left)
            results = self._workers.in_order(score_base, work)
            for place, (_, (timed, hidden)) in zip(left, results, strict=True):
                store.put(kept.number[place], hidden)
                self._note(self.known.base, place, timed, len(left), progress)
            del base, work, results  # all but the head may go
            for entry in self.known.entries[1:]:
                own = self.known.left(entry)
                if own:
                    self._measure_beside(kept, entry, own, progress)

    def _measure_beside(
        self,
        kept: _Kept,
        entry: Entry,
        places: Sequence[Place],
        progress: Progress | None,
    ) -> None:
        """Measure an entry on some chunks; its model is gone before the next comes."""
        model = self._load(entry, progress)
        n_tokens, n_base = (m.shape[0] for m in (model.value.head, kept.head.value))
        if n_tokens != n_base:
            raise QuantkitError(
                f"{entry.name} predicts {n_tokens} tokens and the base "
                f"{n_base}; only models with one vocabulary can be compared"
            )
        work = (
            Beside(
                *(entry.name, model, self._chunk(place), kept.head),
                kept.store.get(kept.number[place]),
            )
            for place in places
        )
        results = self._workers.in_order(score_beside, work)
        for place, (_, timed) in zip(places, results, strict=True):
            self._note(entry, place, timed, len(places), progress)

    def _chunk(self, place: Place) -> Chunk:
        text, i = place
        return self.known.texts[text].chunks.chunk(i)

    def _load(self, entry: Entry, progress: Progress | None) -> Shared[Model]:
        """The model of an entry, quantized if it is to be."""
        start, wanted = perf_counter(), entry.wanted
        model = share_model(
            entry.source,
            None if wanted is None else wanted.recipe,
            overrides=None if wanted is None else wanted.overrides,
            importance=entry.importance,
            threads=self._workers,
            progress=progress,
            precision=precision_named(entry.activations),
        )
        if wanted is not None:
            seconds = perf_counter() - start
            self.known.quantize_seconds[entry.name] = seconds
            if self._saved is not None:
                self._saved.add(self._keys[entry.name], seconds)
        return model

    def _note(
        self,
        entry: Entry,
        place: Place,
        timed: Timed,
        n_places: int,
        progress: Progress | None,
    ) -> None:
        """Take in the scores of a chunk, with its share of the workers' time."""
        known, n_workers = self.known.timed[entry.name], self._workers.count
        if place not in known:
            seconds = timed.seconds / min(n_workers, n_places)
            known[place] = replace(timed, seconds=seconds)
            if self._saved is not None:
                self._saved.add(self._key(entry, place), seconds, timed.scores)
        if progress is not None:
            progress(f"{entry.name}: perplexity", len(known), len(self.known.places()))


def _head_of(model: Shared[Model]) -> Shared[Head]:
    """The head of a model, which goes on when the rest of the model goes."""
    opener = None if model.opener is None else HeadOpener(model.opener)
    return Shared(opener, model.value.head)
