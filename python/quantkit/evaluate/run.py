"""Run a comparison, with intermediate results at any time.

Models are in memory together, in groups that fit it.  A work item is a chunk with all
models of a group: the base's logits are computed once for all.  Chunks alternate
between texts: the first of each text, the second of each, and so on.  So after k chunks
all models of a group have k chunks.

If there are several groups, the base's hidden states are stored while the first group
is measured, and its head is applied to them again beside each other group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from .._version import __version__
from ..errors import OptionError
from ..execution.opened import Shared
from ..execution.workers import Workers, kept_open, workers_of
from ..files.identity import hash_pieces
from ..forward.base import Model
from ..gguf.source import refuse_changed, unchanged
from ..inference.damage import damage_named
from ..progress import Notify, Progress
from .entries import Entry, entry_named, say_on_grid
from .items import (
    BaseInGroup,
    head_of,
    head_shapes,
    items_of,
    refuse_other_vocabularies,
)
from .known import Known
from .likelihood import refuse_broken
from .loading import LoadedModels
from .places import Place
from .results import Comparison
from .saved import SavedScores, Timed
from .scoring import ChunkScores, Stop, score_together
from .store import HiddenStore

__all__ = ["ComparisonRun"]


class ComparisonRun:
    """Measures entries on texts: `run` measures, `so_far` gives intermediate results.

    `run` measures everything.  Inside `with run:`, `advance` measures some entries on
    the first chunks, as often as it is called; models stay in memory meanwhile.

    Args:
        known: the entries, the texts and the known scores.
        threads: items evaluated at a time, or on devices slabs quantized at a time;
            None: one per core.
        save: a file that keeps scores for a later run; None: do not save.
        memory: bytes of weights in memory at a time; see `LoadedModels`.

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
        memory: int | None = None,
    ) -> None:
        self.known = known
        self._workers = workers_of(threads)
        self._runners = known.computing.runners(self._workers)
        self._save = save
        self._memory = memory
        self._saved: SavedScores | None = None
        self._loaded: LoadedModels | None = None
        self._open = ExitStack()
        self._keys: dict[str, str] = {}
        self._n_steps = 0

    @property
    def workers(self) -> Workers:
        """What processes items."""
        return self._workers

    @property
    def saved(self) -> SavedScores | None:
        """The saved scores, inside `with run:`; None: they are not saved."""
        return self._saved

    @property
    def steps_done(self) -> int:
        """The number of measured chunks, over all entries."""
        return sum(map(len, self.known.timed.values()))

    @property
    def n_steps(self) -> int:
        """The number of chunks to measure, over all entries.

        Of `advance`: those that are known, and those that it measures.
        """
        return self._n_steps or len(self.known.entries) * self.known.n_places

    def __enter__(self) -> ComparisonRun:
        """Open the saved scores, and take what they have."""
        with ExitStack() as opening:
            if self._save is not None:
                self._saved = opening.enter_context(SavedScores(self._save))
                self._recall(self._saved)
            how = self._workers, self._memory, self._took, self.known.computing
            self._loaded = LoadedModels(*how)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the saved scores and free the models."""
        self._loaded = self._saved = None
        self._open.close()

    def so_far(self) -> Comparison | None:
        """The results so far; None until the base has a chunk of every text."""
        return self.known.comparison()

    def glance(self) -> Comparison | None:
        """The same, for a table that is updated often."""
        return self.so_far()

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> Comparison:
        """Measure everything that is not known yet; arguments as for `advance`.

        `notify` is also told if the weights of a model look dequantized.
        """
        say_on_grid(self.known.on_grid, notify)
        with self:
            return self.advance(progress=progress, notify=notify)

    def advance(
        self,
        names: Collection[str] | None = None,
        n_chunks: int | None = None,
        progress: Progress | None = None,
        notify: Notify | None = None,
    ) -> Comparison:
        """Measure what is not known yet of some entries, inside `with run:`.

        The base is measured, too.  Scores do not depend on which entries are measured
        together, or in how many calls.

        Args:
            names: the entries; None: all.
            n_chunks: the number of chunks of each text, from its start; None: all.
            progress: called after every quantized slab and for every evaluated chunk of
                an entry.
            notify: told what the user should know of a calibration, such as that its
                text is narrow; by the first type of each model, since others have the
                same text.

        Returns:
            The results so far, of these and all other entries.

        Raises:
            OptionError: there is no such entry, or the run is not open.
            QuantkitError: a model cannot be measured, or has another vocabulary.
        """
        self.measure(names, n_chunks, progress, notify)
        result = self.so_far()
        assert result is not None  # for mypy: the base has a chunk of every text
        return result

    def measure(
        self,
        names: Collection[str] | None = None,
        n_chunks: int | None = None,
        progress: Progress | None = None,
        notify: Notify | None = None,
    ) -> None:
        """The same without the results, which need the first chunk of every text."""
        if self._loaded is None:
            raise OptionError("`advance` is called inside `with run:`")
        base, *others = self.known.entries
        if names is not None:
            others = [entry_named(self.known.entries, name) for name in names]
            others = [e for e in self.known.entries[1:] if e in others]
        others = [e for e in others if self.known.left(e, n_chunks=n_chunks)]
        left = self.known.left(base, *others, n_chunks=n_chunks)
        missing = [len(self.known.left(e, n_chunks=n_chunks)) for e in (base, *others)]
        self._n_steps = self.steps_done + sum(missing)
        if left:
            with unchanged(*(entry.source for entry in (base, *others))):
                self._measure(self._loaded, [base, *others], left, progress, notify)

    def _measure(
        self,
        loaded: LoadedModels,
        entries: Sequence[Entry],
        left: Sequence[Place],
        progress: Progress | None,
        notify: Notify | None,
    ) -> None:
        """Measure the base on these chunks, and each entry on its missing chunks."""
        (base, *first), *groups = loaded.groups(entries)
        model, *models = loaded.load([base, *first], progress, notify)
        [(n_tokens, width)] = head_shapes([model], self._workers)
        kept = BaseInGroup(head_of(model), n_tokens, model)
        with ExitStack() as stack:
            if groups:
                shape = self.known.texts[0].chunks.n_scored, width
                store = stack.enter_context(HiddenStore(len(left), shape))
                number = {place: i for i, place in enumerate(left)}
                kept = replace(kept, store=store, number=number)
            self._measure_group(kept, first, models, left, progress)
            kept = replace(kept, model=None)
            del model, models  # to be freed if the next group needs room
            for group in groups:
                missing = set(self.known.left(*group))
                places = [place for place in left if place in missing]
                models = loaded.load(group, progress, notify)
                self._measure_group(kept, group, models, places, progress)
                del models

    def _measure_group(
        self,
        base: BaseInGroup,
        group: Sequence[Entry],
        models: Sequence[Shared[Model]],
        places: Sequence[Place],
        progress: Progress | None,
    ) -> None:
        """Measure the entries of a group on their missing chunks among these."""
        shapes = head_shapes(models, self._workers)
        refuse_other_vocabularies(base.n_tokens, group, shapes)
        by_name = {entry.name: entry for entry in group}
        stop, n_places = Stop(), len(places)
        with kept_open(self._runners) as workers:
            try:
                items = items_of(
                    *(self.known, base, group, models, places),
                    n_workers=workers.count,
                    at_a_time=self._at_a_time,
                    stop=stop,
                )
                for item, all_found in workers.in_order(score_together, items):
                    own = [by_name[name] for name in item.names]
                    for found in all_found:
                        self._refuse_broken(own, found)
                    for place, found in zip(item.places, all_found, strict=True):
                        self._note_all(base, own, place, found, n_places, progress)
            finally:
                stop.set()

    @property
    def _at_a_time(self) -> int:
        """The number of chunks of an item."""
        ctx = self.known.texts[0].chunks.tokens.shape[1]
        return self.known.computing.sequences_at_a_time(ctx)

    def _refuse_broken(self, entries: Sequence[Entry], found: ChunkScores) -> None:
        """Refuse broken models before any score of an item is taken.

        On a device, numbers that are not finite may spoil the chunks beside theirs.

        Raises:
            NonFiniteError: a model predicts NaN, or its perplexity would overflow.
        """
        timed = found.base, *found.models
        for entry, each in zip((self.known.base, *entries), timed, strict=True):
            with damage_named(entry.source):
                refuse_broken(each.scores.nll, entry.name)

    def _note_all(
        self,
        base: BaseInGroup,
        entries: Sequence[Entry],
        place: Place,
        found: ChunkScores,
        n_places: int,
        progress: Progress | None,
    ) -> None:
        """Take the scores of an item."""
        if found.hidden is not None and base.store is not None:
            base.store.put(base.number[place], found.hidden)
        timed = found.base, *found.models
        for entry, each in zip((self.known.base, *entries), timed, strict=True):
            if place not in self.known.timed[entry.name]:
                self._note(entry, place, each, n_places, progress)

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
        known = self.known.timed[entry.name]
        seconds = timed.seconds / min(self._runners.count, n_places)
        known[place] = replace(timed, seconds=seconds)
        if self._saved is not None:
            self._saved.add(self.key(entry, place), seconds, timed.scores)
        if progress is not None:
            progress(f"{entry.name}: perplexity", len(known), self.known.n_places)

    def _took(self, entry: Entry, seconds: float) -> None:
        """Note the time to quantize an entry."""
        self.known.quantize_seconds[entry.name] = seconds
        if self._saved is not None:
            self._saved.add(self._keys[entry.name], seconds)

    def _recall(self, saved: SavedScores) -> None:
        """Take what an earlier run measured."""
        where = f"{__version__} {self.known.computing.place}"
        base = f"{where} {self.known.base.identity}".encode()
        for entry in self.known.entries:
            own = hash_pieces([entry.identity.encode(), base])
            self._keys[entry.name] = own
            seconds = saved.seconds(own)
            if seconds is not None:
                self.known.quantize_seconds[entry.name] = seconds
            for place in self.known.places():
                timed = saved.scores(self.key(entry, place))
                if timed is not None:
                    self.known.timed[entry.name][place] = timed

    def key(self, entry: Entry, place: Place | None = None) -> str:
        """The key of an entry's saved scores on a chunk; None: of its other seconds."""
        if place is None:
            return self._keys[entry.name]
        chunks = self.known.texts[place[0]].chunks
        precisions = f"{entry.activations} {self.known.base.activations}"
        how = f"{chunks.n_scored} {precisions}"
        pieces = [self._keys[entry.name].encode(), how.encode()]
        return hash_pieces([*pieces, chunks.inputs(place[1]).tobytes()])
