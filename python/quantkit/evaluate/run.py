"""A comparison while it is measured: what is done, what is left, what is known so far.

The base goes first, and its hidden states are kept; its head is applied again beside
that of each other model, so that no logits are kept.  Then the others, one after the
other, so that one of them is in memory beside the base's head.  A chunk is one task of
one thread.  Chunks are taken from all texts in turn: the first of each, the second ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from .._native import active_backend
from .._version import __version__
from ..errors import QuantkitError
from ..execution.threads import checked_threads, each_on_a_thread
from ..files.identity import hash_pieces
from ..forward.base import F32, Head, Model
from ..inference.weights import load_model, load_weights, precision_named
from ..progress import Progress
from ..tokens.texts import Tokens
from .entries import Entry
from .known import Known, Place
from .likelihood import TokenScores, compare_tokens, negative_log_likelihood, refuse_nan
from .results import Comparison
from .saved import SavedScores, Timed
from .store import HiddenStore

__all__ = ["ComparisonRun"]

Score = Callable[[Place], TokenScores]


@dataclass(frozen=True)
class _Kept:
    """What is kept of the base: all that the others are compared with."""

    head: Head
    store: HiddenStore
    number: Mapping[Place, int]

    def hidden(self, place: Place) -> F32:
        return self.store.get(self.number[place])


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
        self, known: Known, threads: int | None = None, save: Path | None = None
    ) -> None:
        self.known = known
        self._threads = checked_threads(threads)
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
        base = self._load(self.known.base, progress)
        shape = self.known.texts[0].chunks.n_scored, base.head.shape[1]
        with HiddenStore(len(left), shape) as store:
            kept = _Kept(base.head, store, {place: i for i, place in enumerate(left)})
            score = partial(self._score_base, base, kept)
            self._evaluate(self.known.base, left, score, progress)
            del base, score  # all but the head may go
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
        if model.head.shape[0] != kept.head.shape[0]:
            raise QuantkitError(
                f"{entry.name} predicts {model.head.shape[0]} tokens and the base "
                f"{kept.head.shape[0]}; only models with one vocabulary can be compared"
            )
        score = partial(self._score_beside, model, kept)
        self._evaluate(entry, places, score, progress)

    def _score_base(self, model: Model, kept: _Kept, place: Place) -> TokenScores:
        hidden = self._hidden(model, place)
        kept.store.put(kept.number[place], hidden)
        targets = self._targets(place)
        return TokenScores.of_base(negative_log_likelihood(hidden, kept.head, targets))

    def _score_beside(self, model: Model, kept: _Kept, place: Place) -> TokenScores:
        hidden, base_hidden = self._hidden(model, place), kept.hidden(place)
        targets = self._targets(place)
        return compare_tokens(hidden, model.head, base_hidden, kept.head, targets)

    def _targets(self, place: Place) -> Tokens:
        return self.known.texts[place[0]].chunks.targets(place[1])

    def _hidden(self, model: Model, place: Place) -> F32:
        """The hidden states that predict the scored tokens of a chunk."""
        chunks = self.known.texts[place[0]].chunks
        return model.hidden(chunks.inputs(place[1]))[chunks.predicting]

    def _load(self, entry: Entry, progress: Progress | None) -> Model:
        """The model of an entry, quantized if it is to be."""
        start, wanted = perf_counter(), entry.wanted
        weights = load_weights(
            entry.source,
            None if wanted is None else wanted.recipe,
            overrides=None if wanted is None else wanted.overrides,
            importance=entry.importance,
            threads=self._threads,
            progress=progress,
            precision=precision_named(entry.activations),
        )
        if wanted is not None:
            seconds = perf_counter() - start
            self.known.quantize_seconds[entry.name] = seconds
            if self._saved is not None:
                self._saved.add(self._keys[entry.name], seconds)
        return load_model(entry.source, weights)

    def _evaluate(
        self,
        entry: Entry,
        places: Sequence[Place],
        score: Score,
        progress: Progress | None,
    ) -> None:
        """Measure an entry on some chunks."""

        def timed(place: Place) -> Timed:
            start = perf_counter()
            scores = score(place)
            refuse_nan(scores.nll, entry.name)
            return Timed(scores, (perf_counter() - start) / n_threads)

        n_threads = min(self._threads, len(places))
        known, n_places = self.known.timed[entry.name], len(self.known.places())
        with each_on_a_thread(places, timed, self._threads) as results:
            for place, result in results:
                if place not in known:
                    known[place] = result
                    if self._saved is not None:
                        key = self._key(entry, place)
                        self._saved.add(key, result.seconds, result.scores)
                if progress is not None:
                    progress(f"{entry.name}: perplexity", len(known), n_places)
