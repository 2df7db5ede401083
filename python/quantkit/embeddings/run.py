"""Run a comparison of embeddings, with intermediate results at any time.

The entries are evaluated one after the other, the base first, so that only one is in
memory.  Each passage is one work item, and its embedding depends on nothing but the
model and its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from .._version import __version__
from ..errors import NonFiniteError, QuantkitError
from ..evaluate.entries import Entry
from ..evaluate.places import Place
from ..execution.opened import Shared
from ..execution.workers import Workers, workers_of
from ..files.identity import hash_pieces
from ..forward.encoder import Embedder
from ..forward.engines import on_host
from ..gguf.source import refuse_changed, unchanged
from ..inference.damage import damage_named
from ..inference.embedders import share_embedder
from ..progress import Notify, Progress
from ..tokens.texts import Tokens
from .known import Known, Timed
from .results import EmbeddingComparison
from .saved import SavedEmbeddings

__all__ = ["EmbeddingRun", "Passage", "embedded"]


@dataclass(frozen=True, eq=False)
class Passage:
    """A passage to make an embedding of.

    Attributes:
        name: the model's name in messages.
        model: the model.
        tokens: the passage, int32 [n].
    """

    name: str
    model: Shared[Embedder]
    tokens: Tokens


def embedded(work: Passage) -> Timed:
    """The embedding of a passage.

    Raises:
        NonFiniteError: it is not finite, or zero in all components.
    """
    start = perf_counter()
    pooled = on_host(work.model.value.pooled(work.tokens))
    vector = np.ascontiguousarray(pooled, np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise NonFiniteError(
            f"{work.name} gives an embedding that has no direction: its components are "
            "NaN, infinite or all zero"
        )
    return Timed(vector, perf_counter() - start)


class EmbeddingRun:
    """Measures entries on texts: `run` measures, `so_far` gives intermediate results.

    Args:
        known: the entries, the texts and the known embeddings.
        threads: passages evaluated at a time; None: one per core.
        save: a file that keeps embeddings for a later run; None: do not save.

    Attributes:
        unit: what a step is.
        workers: the threads or processes that measure.
        known: as given, with new embeddings added.
    """

    unit = "passages"

    def __init__(
        self,
        known: Known,
        threads: int | Workers | None = None,
        save: Path | None = None,
    ) -> None:
        self.known = known
        self.workers = workers_of(threads)
        self._runners = known.computing.runners(self.workers)
        self._save = save
        self._saved: SavedEmbeddings | None = None
        self._keys: dict[str, str] = {}

    @property
    def steps_done(self) -> int:
        """The number of embeddings, over all entries."""
        return sum(map(len, self.known.timed.values()))

    @property
    def n_steps(self) -> int:
        """The total number of embeddings to make, over all entries."""
        return len(self.known.entries) * self.known.n_places

    def so_far(self) -> EmbeddingComparison | None:
        """The results so far; None until the base has a passage of every text."""
        return self.known.comparison(with_nearest=True)

    def glance(self) -> EmbeddingComparison | None:
        """The same without what takes long; see `Known.comparison`."""
        return self.known.comparison(with_nearest=False)

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> EmbeddingComparison:
        """Make all embeddings that are not known yet.

        Args:
            progress: called after every quantized slab and every passage.
            notify: as for other runs; there is nothing to be told.
        """
        known = self.known
        with (
            SavedEmbeddings(self._save) if self._save else nullcontext() as self._saved
        ):
            self._recall()
            left = [(entry, known.left(entry)) for entry in known.entries]
            with unchanged(*(entry.source for entry, places in left if places)):
                for entry, places in left:
                    if places:
                        self._measure(entry, places, progress)
            self._refuse_unlike()
        result = self.so_far()
        assert result is not None  # for mypy: every passage is measured
        return result

    def _recall(self) -> None:
        """Load what an earlier run measured."""
        if self._saved is None:
            return
        where = f"{__version__} {self.known.computing.place} embeddings"
        for entry in self.known.entries:
            pieces = (entry.identity, where, entry.activations)
            own = hash_pieces([piece.encode() for piece in pieces])
            self._keys[entry.name] = own
            seconds = self._saved.seconds(own)
            if seconds is not None:
                self.known.quantize_seconds[entry.name] = seconds
            for place in self.known.places():
                timed = self._saved.embedding(self._key(entry, place))
                if timed is not None:
                    self.known.timed[entry.name][place] = timed

    def _key(self, entry: Entry, place: Place) -> str:
        """The key of an entry's embedding of a passage."""
        own = self._keys[entry.name].encode()
        return hash_pieces([own, self._tokens(place).tobytes()])

    def _tokens(self, place: Place) -> Tokens:
        text, i = place
        return self.known.texts[text].passages[i]

    def _measure(
        self, entry: Entry, places: Sequence[Place], progress: Progress | None
    ) -> None:
        """Make the embeddings of these passages; the model is freed on return."""
        model = self._load(entry, progress)
        work = (Passage(entry.name, model, self._tokens(place)) for place in places)
        results = self._runners.in_order(embedded, work)
        with damage_named(entry.source):
            for place, (_, timed) in zip(places, results, strict=True):
                self._note(entry, place, timed, len(places), progress)

    def _load(self, entry: Entry, progress: Progress | None) -> Shared[Embedder]:
        """Load the model of an entry, quantized if it has a recipe."""
        start = perf_counter()
        model = share_embedder(
            entry.source,
            importance=entry.importance,
            threads=self.workers,
            progress=progress,
            **entry.loading,
        )
        if entry.wanted is not None:
            seconds = perf_counter() - start
            self.known.quantize_seconds[entry.name] = seconds
            if self._saved is not None:
                self._saved.write(self._keys[entry.name], seconds)
        return model

    def _note(
        self,
        entry: Entry,
        place: Place,
        timed: Timed,
        n_places: int,
        progress: Progress | None,
    ) -> None:
        """Add and save an embedding, with its share of the workers' time.

        Raises:
            FormatError: the model's file has changed, so that it is of no use.
        """
        refuse_changed(entry.source)
        known, n_workers = self.known.timed[entry.name], self._runners.count
        shared = replace(timed, seconds=timed.seconds / min(n_workers, n_places))
        known[place] = shared
        self._refuse_unlike()
        if self._saved is not None:
            self._saved.add(self._key(entry, place), shared)
        if progress is not None:
            progress(f"{entry.name}: embeddings", len(known), self.known.n_places)

    def _refuse_unlike(self) -> None:
        """Refuse models whose embeddings have other numbers of components."""
        sizes = {
            name: len(next(iter(timed.values())).vector)
            for name, timed in self.known.timed.items()
            if timed
        }
        base = sizes.get(self.known.base.name)
        for name, size in sizes.items():
            if size != base:
                raise QuantkitError(
                    f"the embeddings of {name} have {size} components, and those of "
                    f"{self.known.base.name} have {base}; they cannot be compared"
                )
