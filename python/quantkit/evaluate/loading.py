"""The models of entries in memory, as many as a limit allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from ..calibrating.roundings import calibrated_roundings
from ..errors import OptionError
from ..execution.opened import Shared
from ..execution.workers import Workers, model_bytes, share_memory
from ..forward.base import Model
from ..gguf.source import ModelSource
from ..inference.computing import ON_CPU, Computing
from ..inference.device_loading import memory_for_models
from ..inference.shared import share_model
from ..progress import Notify, Progress
from ..quantizing.rounding import Roundings
from .entries import Entry
from .groups import MEMORY_SHARE, groups_of

__all__ = ["LoadedModels"]


class LoadedModels:
    """Loads the models of entries, quantized if they have a recipe, and keeps them.

    Args:
        workers: they quantize; processes load the models again, each for itself.
        limit: bytes of weights to keep in memory; None: `MEMORY_SHARE` of what each
            process has now.
        took: told the seconds to quantize an entry.
        computing: where models run, and whose memory it is.
    """

    def __init__(
        self,
        workers: Workers,
        limit: int | None,
        took: Callable[[Entry, float], None],
        computing: Computing = ON_CPU,
    ) -> None:
        if limit is None and computing.cards:
            limit = memory_for_models(computing)
        elif limit is None:
            limit = int(model_bytes(workers) * MEMORY_SHARE)
        self._workers = workers
        self._limit = limit
        self._took = took
        self._models: dict[str, tuple[Entry, Shared[Model]]] = {}
        self._noticed: list[ModelSource] = []

    def groups(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """The entries in groups that fit the limit; one entry fits in any case."""
        groups = groups_of([entry.tensor_bytes for entry in entries], self._limit)
        return [[entries[i] for i in group] for group in groups]

    def load(
        self, group: Sequence[Entry], progress: Progress | None, notify: Notify | None
    ) -> list[Shared[Model]]:
        """The models of a group; others are freed if they do not fit beside them."""
        self._make_room(group)
        new = [entry for entry in group if entry.name not in self._models]
        for entry in new:
            start = perf_counter()
            model = self._loaded(entry, len(group), progress, notify)
            self._models[entry.name] = entry, model
            if entry.wanted is not None and model.here is not None:
                self._took(entry, perf_counter() - start)
        self._load_elsewhere(new, progress)
        return [self._models[entry.name][1] for entry in group]

    def _load_elsewhere(
        self, entries: Sequence[Entry], progress: Progress | None
    ) -> None:
        """Let workers in other processes load models, each model one of them."""
        models = [self._models[entry.name] for entry in entries]
        left = [(entry, model) for entry, model in models if model.here is None]
        loaded = self._workers.in_order(_seconds_to_load, [model for _, model in left])
        for i, ((entry, _), (_, seconds)) in enumerate(zip(left, loaded, strict=True)):
            if entry.wanted is not None:
                self._took(entry, seconds)
            if progress is not None:
                progress(f"{entry.name}: load", i + 1, len(left))

    def _make_room(self, group: Sequence[Entry]) -> None:
        """Free the models that were loaded first, until the group fits."""
        names = {entry.name for entry in group}
        size = sum(entry.tensor_bytes for entry in group)
        others = [e for e, _ in self._models.values() if e.name not in names]
        size += sum(entry.tensor_bytes for entry in others)
        for entry in others:
            if size > self._limit:
                del self._models[entry.name]
                size -= entry.tensor_bytes

    def _loaded(
        self,
        entry: Entry,
        n_together: int,
        progress: Progress | None,
        notify: Notify | None,
    ) -> Shared[Model]:
        with self._roundings(entry, progress, notify) as roundings:
            return share_model(
                entry.source,
                importance=entry.importance if roundings is None else entry.awaited,
                roundings=roundings,
                threads=self._workers,
                progress=progress,
                kept=n_together,
                resident=entry.tensor_bytes <= self._limit,
                **entry.loading,
            )

    @contextmanager
    def _roundings(
        self, entry: Entry, progress: Progress | None, notify: Notify | None
    ) -> Iterator[Roundings | None]:
        """The calibrated roundings of an entry; None: it is not calibrated."""
        if entry.calibration is None:
            yield None
            return
        if not share_memory(self._workers):
            raise OptionError(
                "`calibration` is measured by threads only: other processes do not "
                "have the rows that it solves; leave out `cluster`, or write the file "
                "and measure that"
            )
        is_noticed = any(each is entry.source for each in self._noticed)
        self._noticed.append(entry.source)
        with calibrated_roundings(
            *(entry.source, entry.types, entry.calibration),
            importance=entry.importance,
            threads=self._workers,
            progress=progress,
            notify=None if is_noticed else notify,
            computing=entry.computing,
        ) as calibrated:
            yield calibrated


def _seconds_to_load(model: Shared[Model]) -> float:
    """Load a model where this runs, and say how long that took."""
    start = perf_counter()
    assert model.value is not None
    return perf_counter() - start
