"""Run a comparison, with intermediate results at any time.

The base is evaluated first and its hidden states are stored.  Then the other models are
evaluated one after the other, so that only one is in memory with the base's head.  The
base's head is applied again together with each model's head, so no logits are stored.
Each chunk is one work item.  Chunks alternate between texts: the first of each text,
the second of each, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from .._native import active_backend
from .._version import __version__
from ..calibrating.roundings import calibrated_roundings
from ..errors import QuantkitError
from ..execution.opened import Shared
from ..execution.workers import Workers, workers_of
from ..files.identity import hash_pieces
from ..forward.base import Head, Model
from ..gguf.source import ModelSource, refuse_changed, unchanged
from ..inference.damage import damage_named
from ..inference.shared import share_model
from ..inference.weights import precision_named
from ..progress import Notify, Progress
from ..quantizing.rounding import Roundings
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
    """What is kept of the base to compare the other models with."""

    head: Shared[Head]
    store: HiddenStore
    number: Mapping[Place, int]


class ComparisonRun:
    """Measures entries on texts: `run` measures, `so_far` gives intermediate results.

    Args:
        known: the entries, the texts and the known scores.
        threads: chunks evaluated at a time; None: one per core.
        save: a file that keeps scores for a later run; None: do not save.

    Attributes:
        unit: what a step is.
        known: as given, with new scores added.
    """

    unit = "chunks"

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
        self._notify: Notify | None = None
        self._noticed: list[ModelSource] = []

    @property
    def steps_done(self) -> int:
        """The number of measured chunks, over all entries."""
        return sum(map(len, self.known.timed.values()))

    @property
    def n_steps(self) -> int:
        """The total number of chunks to measure, over all entries."""
        return len(self.known.entries) * len(self.known.places())

    def so_far(self) -> Comparison | None:
        """The results so far; None until the base has a chunk of every text."""
        return self.known.comparison()

    def glance(self) -> Comparison | None:
        """The same, for a table that is updated often."""
        return self.so_far()

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> Comparison:
        """Measure everything that is not known yet.

        Args:
            progress: called after every quantized slab and every evaluated chunk.
            notify: told what the user should know of a calibration, such as that its
                text is narrow; by the first type of each model, since others have the
                same text.
        """
        self._notify = notify
        with SavedScores(self._save) if self._save else nullcontext() as self._saved:
            self._recall()
            left = self.known.left(*self.known.entries)
            if left:
                with unchanged(*(entry.source for entry in self.known.entries)):
                    self._measure(left, progress)
        result = self.so_far()
        assert result is not None  # for mypy: every chunk is measured
        return result

    def _recall(self) -> None:
        """Load what an earlier run measured."""
        if self._saved is None:
            return
        where = f"{__version__} {active_backend().ops}"
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
        """The key of an entry's scores on a chunk."""
        chunks = self.known.texts[place[0]].chunks
        precisions = f"{entry.activations} {self.known.base.activations}"
        how = f"{chunks.n_scored} {precisions}"
        pieces = [self._keys[entry.name].encode(), how.encode()]
        return hash_pieces([*pieces, chunks.inputs(place[1]).tobytes()])

    def _measure(self, left: Sequence[Place], progress: Progress | None) -> None:
        """Measure the base on these chunks, and each entry on its missing chunks."""
        base, name = self._load(self.known.base, progress), self.known.base.name
        width = base.value.head.shape[1]
        shape = self.known.texts[0].chunks.n_scored, width
        with HiddenStore(len(left), shape) as store:
            number = {place: i for i, place in enumerate(left)}
            kept = _Kept(_head_of(base), store, number)
            work = (Alone(name, base, self._chunk(place)) for place in left)
            results = self._workers.in_order(score_base, work)
            with damage_named(self.known.base.source):
                for place, (_, (timed, hidden)) in zip(left, results, strict=True):
                    store.put(kept.number[place], hidden)
                    self._note(self.known.base, place, timed, len(left), progress)
            del base, work, results  # free everything except the head
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
        """Measure an entry on these chunks; its model is freed on return."""
        model = self._load(entry, progress)
        n_tokens, n_base = (m.shape[0] for m in (model.value.head, kept.head.value))
        if n_tokens != n_base:
            raise QuantkitError(
                f"{entry.name} has a vocabulary of {n_tokens} tokens, but the base has "
                f"{n_base}; only models with the same vocabulary can be compared"
            )
        work = (
            Beside(
                *(entry.name, model, self._chunk(place), kept.head),
                kept.store.get(kept.number[place]),
            )
            for place in places
        )
        results = self._workers.in_order(score_beside, work)
        with damage_named(entry.source):
            for place, (_, timed) in zip(places, results, strict=True):
                self._note(entry, place, timed, len(places), progress)

    def _chunk(self, place: Place) -> Chunk:
        text, i = place
        return self.known.texts[text].chunks.chunk(i)

    def _load(self, entry: Entry, progress: Progress | None) -> Shared[Model]:
        """Load the model of an entry, quantized if it has a recipe."""
        start, wanted = perf_counter(), entry.wanted
        with self._roundings(entry, progress) as roundings:
            model = share_model(
                entry.source,
                None if wanted is None else wanted.recipe,
                overrides=None if wanted is None else wanted.overrides,
                importance=entry.importance if roundings is None else entry.awaited,
                roundings=roundings,
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

    @contextmanager
    def _roundings(
        self, entry: Entry, progress: Progress | None
    ) -> Iterator[Roundings | None]:
        """The calibrated roundings of an entry; None: it is not calibrated."""
        if entry.calibration is None:
            yield None
            return
        is_noticed = any(each is entry.source for each in self._noticed)
        self._noticed.append(entry.source)
        with calibrated_roundings(
            *(entry.source, entry.types, entry.calibration),
            importance=entry.importance,
            threads=self._workers,
            progress=progress,
            notify=None if is_noticed else self._notify,
        ) as calibrated:
            yield calibrated

    def _note(
        self,
        entry: Entry,
        place: Place,
        timed: Timed,
        n_places: int,
        progress: Progress | None,
    ) -> None:
        """Add and save the scores of a chunk, with its share of the workers' time.

        Raises:
            FormatError: a model's file has changed, so that the scores are of no use.
        """
        for used in (entry, self.known.base):
            refuse_changed(used.source)
        known, n_workers = self.known.timed[entry.name], self._workers.count
        if place not in known:
            seconds = timed.seconds / min(n_workers, n_places)
            known[place] = replace(timed, seconds=seconds)
            if self._saved is not None:
                self._saved.add(self._key(entry, place), seconds, timed.scores)
        if progress is not None:
            progress(f"{entry.name}: perplexity", len(known), len(self.known.places()))


def _head_of(model: Shared[Model]) -> Shared[Head]:
    """The head of a model, without a reference to the rest of the model."""
    opener = None if model.opener is None else HeadOpener(model.opener)
    return Shared(opener, model.value.head)
