"""The models of entries in memory, as many as a limit allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter

from ..calibrating.calibrated import Calibrated
from ..calibrating.roundings import calibrated_roundings
from ..errors import OptionError
from ..execution.opened import Shared
from ..execution.workers import Workers, model_bytes, share_memory, whole_workers
from ..forward.base import Model
from ..gguf.source import ModelSource
from ..inference.computing import ON_CPU, Computing
from ..inference.device_loading import memory_for_models
from ..inference.shared import share_model
from ..progress import Notify, Progress
from ..quantizing.rounding import NearestRoundings
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
            is_made = model.here is not None or entry.calibration is not None
            if entry.wanted is not None and is_made:
                self._took(entry, perf_counter() - start)
        plain = [entry for entry in new if entry.calibration is None]
        self._load_elsewhere(plain, progress)
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
        share = partial(
            share_model,
            entry.source,
            threads=self._workers,
            progress=progress,
            kept=n_together,
            resident=entry.tensor_bytes <= self._limit,
            **entry.loading,
        )
        if entry.calibration is None:
            return share(importance=entry.importance)
        with self._calibrated(entry, progress, notify) as calibrated:
            if share_memory(self._workers):
                return share(importance=entry.awaited, roundings=calibrated)
            model = share(
                importance=entry.awaited,
                roundings=NearestRoundings(calibrated.importance),
                made=calibrated.all_carried(entry.source.tensors),
            )
            for _ in self._workers.in_order(_seconds_to_load, [model]):
                pass  # which sends the rows, as long as their files are there
            return model

    @contextmanager
    def _calibrated(
        self, entry: Entry, progress: Progress | None, notify: Notify | None
    ) -> Iterator[Calibrated]:
        """The solved rows of an entry."""
        if not share_memory(self._workers) and whole_workers(self._workers) is None:
            raise OptionError(
                "`calibration` is measured by threads or by a cluster: other processes "
                "do not have the rows that it solves; write the file, and measure that"
            )
        assert entry.calibration is not None  # the caller has looked
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
