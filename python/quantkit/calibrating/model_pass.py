"""Take the calibration text through a model, and solve its matrices on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..execution.carried import Carried
from ..execution.opened import Shared
from ..execution.workers import Workers, whole_workers
from ..forward.decoder import EMBEDDING, OUTPUT
from ..forward.engines import on_host
from ..gguf.importance import Importance
from ..gguf.source import ModelSource, refuse_changed
from ..inference.computing import EXACT, Computing
from ..progress import Progress
from ..types import QuantType
from .captured_model import CapturedModel, Step
from .capturing import CapturedWeights, Run
from .gathering import Gatherer
from .layers import LayerPass
from .parts import Solver
from .sample import Sample
from .sink import SinkWeights, weights_of_layer
from .store import Store
from .streams import Stream

__all__ = ["ModelPass", "solvable"]


def solvable(source: ModelSource, types: Mapping[str, QuantType]) -> list[str]:
    """The tensors that get a quantized type, which they do not have yet."""
    return [
        name
        for name, type in types.items()
        if type.is_quantized and type is not source.tensors[name].type
    ]


@dataclass(frozen=True, eq=False)
class ModelPass:
    """One calibration of a model.

    Attributes:
        source: the unquantized model.
        types: the type of each tensor.
        sample: the tokens.
        n_streams: 1: the unquantized model's; 2: also that of the solved matrices.
        importance: by tensor name, what the user gave.
        store: what is finished.
        workers: threads of this process.
        others: the workers of a cluster; the same threads if there is none.
        computing: where layers run, inputs are summed and rows are solved.
    """

    source: ModelSource
    types: Mapping[str, QuantType]
    sample: Sample
    n_streams: int
    importance: Importance
    store: Store
    workers: Workers
    others: Workers
    computing: Computing = EXACT

    def run(self, progress: Progress | None = None) -> None:
        """Calibrate all layers that are not finished, and the head.

        Args:
            progress: called after each layer.
        """
        total = self._n_layers + 1
        if self.store.n_done:
            self._said(progress, total)
        while self.store.n_done < total:
            self._calibrate_next()
            refuse_changed(self.source)
            self._said(progress, total)

    def _said(self, progress: Progress | None, total: int) -> None:
        if progress is not None:
            progress("calibrate", self.store.n_done, total)

    def _calibrate_next(self) -> None:
        streams = self._streams()
        number = self.store.n_done
        solver = self._solver()
        if number < self._n_layers:
            solver.sink = self._sink(number, streams[0])
        layers = LayerPass(self._gatherer, solver)
        if number == self._n_layers:
            if self._head in self._names:
                layers.head(self._head, streams)
            self.store.finish(solver.outcomes, ())
            return
        names = self._of_layer(number, self._names)
        if self.n_streams > 1:
            self._round(self._of_layer(number, self.types), names, solver)
        after = self.store.next_streams(streams)
        layers.calibrate(number, names, streams, after)
        self.store.finish(solver.outcomes, after)
        self._weights.forget(self._of_layer(number, self.source.tensors))

    def _sink(self, number: int, stream: Stream) -> SinkWeights:
        """The weights of the first position in a layer."""
        numbers = np.flatnonzero(~self.sample.is_held_out).tolist()
        return weights_of_layer(self._model, Step(number), stream, numbers)

    def _solver(self) -> Solver:
        return Solver(
            self._weights,
            self.source.tensors,
            self.types,
            self.importance,
            self.workers,
            self.others,
            self.computing.number,
        )

    @cached_property
    def _gatherer(self) -> Gatherer:
        how = self.workers, whole_workers(self.others), self.computing
        return Gatherer(self._shared, Carried(self.sample), *how)

    @cached_property
    def _shared(self) -> Shared[CapturedModel]:
        return CapturedModel.shared(self.source, self.computing)

    @property
    def _model(self) -> CapturedModel:
        return self._shared.value

    @property
    def _weights(self) -> CapturedWeights:
        return self._model.weights

    @property
    def _n_layers(self) -> int:
        return len(self._model.decoder.layers)

    @cached_property
    def _names(self) -> list[str]:
        return solvable(self.source, self.types)

    @property
    def _head(self) -> str:
        return OUTPUT if OUTPUT in self.source.tensors else EMBEDDING

    def _of_layer(self, number: int, names: Collection[str]) -> list[str]:
        at = f"blk.{self._model.decoder.block_of(number)}."
        return [name for name in names if name.startswith(at)]

    def _round(
        self, names: Collection[str], solved: Collection[str], solver: Solver
    ) -> None:
        """Round tensors of the rounded stream that are not solved."""
        for name in names:
            type = self.types[name]
            if name not in solved and type is not self.source.tensors[name].type:
                self._weights.rounded[name] = Carried((solver.plain(name), type))

    def _streams(self) -> Sequence[Stream]:
        """The streams before the next layer.

        If those of an earlier run are damaged, the first layer is the next one.
        """
        columns = self._model.decoder.columns
        sample = self.sample
        shapes = (*sample.chunks.shape, columns), (len(sample.alone), columns)
        streams = self.store.streams(self.n_streams, *shapes)
        if self.store.n_done:
            if self.store.is_at(streams):
                return streams
            self.store.discard()
        if self.n_streams > 1:
            lookups = [name for name in self.types if name.endswith(EMBEDDING)]
            self._round(lookups, (), self._solver())
        for stream in streams:
            self._embed(stream)
        return streams

    def _embed(self, stream: Stream) -> None:
        rounded = self._weights.rounded if stream.is_rounded else None
        model = self._model.decoder
        with self._weights.running(Run(rounded)):
            for tokens, into in zip(self.sample.chunks, stream.chunks, strict=True):
                into[...] = on_host(model.embedded(tokens))
            alone = model.embedded(self.sample.alone, alone=True)
            stream.alone[...] = on_host(alone)
