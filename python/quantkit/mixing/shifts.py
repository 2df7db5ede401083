"""What one quantized tensor moves the predictions of an unquantized model by.

The streams of the unquantized model before each layer are kept.  A model in which one
tensor is quantized has the same streams up to the layer of that tensor, so only this
layer and the later ones are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import NonFiniteError
from ..execution.workers import Workers
from ..forward.base import F32
from ..forward.decoder import OUTPUT, Decoder
from ..gguf.source import ModelSource
from ..inference.weights import MemoryWeights, TypedMatrix, load_model
from ..progress import Progress
from ..recipes.facts import layer_number
from ..tokens.chunks import Chunk
from .drawing import Drawn, drawn_tokens, logits_of

__all__ = ["Alone", "Passage", "measured_shifts", "shift"]

STAGE = "sensitivities"


@dataclass(frozen=True, eq=False)
class Passage:
    """A chunk of text in the unquantized model.

    Attributes:
        chunk: the tokens.
        streams: before each layer and after the last: f32 [ctx, columns] each.
        drawn: tokens drawn from each prediction of a scored token: [n_scored, tokens].
        logits: of these tokens.
    """

    chunk: Chunk
    streams: Sequence[F32] = field(repr=False)
    drawn: Drawn
    logits: F32

    @classmethod
    def of(cls, model: Decoder, chunk: Chunk, first: int) -> Passage:
        """Run the unquantized model.

        Args:
            model: the model.
            chunk: the tokens.
            first: the number of the chunk's first scored token among all.
        """
        streams = [model.embedded(chunk.inputs)]
        for layer in model.layers:
            streams.append(layer(streams[-1]))
        hidden = model.finished(streams[-1])[chunk.predicting]
        drawn = drawn_tokens(hidden, model.head, first)
        return cls(chunk, streams, drawn, logits_of(drawn, hidden, model.head))


@dataclass(frozen=True, eq=False)
class Alone:
    """A tensor that is to be quantized alone.

    Attributes:
        passage: the text.
        name: of the tensor.
        model: the model with this tensor quantized.
    """

    passage: Passage
    name: str
    model: Decoder

    @property
    def first_layer(self) -> int:
        """The first layer that differs; the number of layers: only the head does."""
        if self.name == OUTPUT:
            return len(self.model.layers)
        block = layer_number(self.name)
        numbers = range(len(self.model.layers))
        return next((i for i in numbers if self.model.block_of(i) == block), 0)


def shift(work: Alone) -> F32:
    """By how much the logits of the drawn tokens are moved: [n_scored, tokens].

    Raises:
        NonFiniteError: they become NaN or infinite.
    """
    model, passage, start = work.model, work.passage, work.first_layer
    x = passage.streams[start]
    if layer_number(work.name) < 0 and work.name != OUTPUT:
        x = model.embedded(passage.chunk.inputs)
    for layer in model.layers[start:]:
        x = layer(x)
    hidden = model.finished(x)[passage.chunk.predicting]
    moved: F32 = logits_of(passage.drawn, hidden, model.head) - passage.logits
    if not np.isfinite(moved).all():
        raise NonFiniteError(f"with {work.name} quantized, the model predicts NaN")
    return moved


def measured_shifts(
    source: ModelSource,
    base: MemoryWeights,
    changed: Mapping[str, TypedMatrix],
    chunks: Sequence[Chunk],
    workers: Workers,
    progress: Progress | None = None,
) -> dict[str, F32]:
    """What each of some tensors, quantized alone, moves predictions by.

    Args:
        source: the unquantized model.
        base: its weights.
        changed: the quantized tensors by name.
        chunks: the text.
        workers: run some tensors at a time.
        progress: called after each tensor and chunk.

    Returns:
        By name, f32 [positions of all chunks, tokens].
    """
    found: dict[str, list[F32]] = {name: [] for name in changed}
    items, total = _work(source, base, changed, chunks), len(changed) * len(chunks)
    for done, (work, moved) in enumerate(workers.in_order(shift, items), 1):
        found[work.name].append(moved)
        if progress is not None:
            progress(STAGE, done, total)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _work(
    source: ModelSource,
    base: MemoryWeights,
    changed: Mapping[str, TypedMatrix],
    chunks: Sequence[Chunk],
) -> Iterator[Alone]:
    """All tensors for the first chunk, for the second, and so on."""
    whole, first = decoder(source, base), 0
    models = {
        name: _variant(source, base, whole, name, matrix)
        for name, matrix in changed.items()
    }
    for chunk in chunks:
        passage = Passage.of(whole, chunk, first)
        first += len(chunk.targets)
        for name, model in models.items():
            yield Alone(passage, name, model)


def _variant(
    source: ModelSource,
    base: MemoryWeights,
    whole: Decoder,
    name: str,
    matrix: TypedMatrix,
) -> Decoder:
    """The model with one tensor changed; other layers are those of `whole`."""
    model = decoder(source, MemoryWeights({**base.tensors, name: matrix}))
    block = layer_number(name)
    if block < 0 or model.blocks:
        return model
    own, layers = model.layers[block : block + 1], whole.layers
    return replace(whole, layers=(*layers[:block], *own, *layers[block + 1 :]))


def decoder(source: ModelSource, weights: MemoryWeights) -> Decoder:
    """The model with these weights."""
    model = load_model(source, weights)
    assert isinstance(model, Decoder)  # every family's is
    return model
