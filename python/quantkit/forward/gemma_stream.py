"""The stream of Gemma 3n and 4, and its layers.

Its columns are the hidden states (Gemma 3n: of all streams), the inputs of all layers,
and the keys and values that later layers use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import Attention
from .base import F32, Activations
from .kept import Kept, State
from .layer import AroundParts, InTwoSteps, Part
from .per_layer_inputs import LayerInput, PerLayerInputs
from .shared_keys import Place

__all__ = ["GemmaOpening", "InputColumns", "SharedAttention", "StreamLayer"]


@dataclass(frozen=True)
class GemmaOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    Attributes:
        columns: the number of columns of the stream.
        inputs: the inputs of all layers; None: there are none.
        spread: makes all streams of the first; None: there is only one.
    """

    columns: int
    inputs: PerLayerInputs | None
    spread: Part | None = None

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        stream = np.zeros_like(x, shape=(len(x), self.columns))
        hidden = x if self.spread is None else self.spread(x)
        stop = hidden.shape[1]
        stream[:, :stop] = hidden
        if self.inputs is not None:
            stream[:, stop : stop + self.inputs.columns] = self.inputs(x, tokens)
        return stream


@dataclass(frozen=True)
class SharedAttention:
    """Attention whose keys and values may be in the stream.

    Attributes:
        attention: the attention of the layer.
        taken: where its keys and values are; None: it has its own.
        put: where to put them for later layers; None: nowhere.
    """

    attention: Attention
    taken: Place | None = None
    put: Place | None = None

    def __call__(self, x: F32, before: F32, after: F32) -> F32:
        """The output for normalized x; reads one stream, and writes into the other."""
        shared = Activations(x)
        q = self.attention.queries(shared)
        if self.taken is not None:
            k, v = self.taken.of(before)
        else:
            k, v = self.attention.keys_and_values(shared)
        if self.put is not None:
            self.put.put(after, k, v)
        return self.attention.attended(q, k, v)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        return self.attention.kept if self.taken is None else ()

    def alone(self) -> SharedAttention:
        """The same, with each position seeing only itself."""
        return replace(self, attention=self.attention.alone())


@dataclass(frozen=True)
class InputColumns:
    """The input of a layer, and where it is in the stream."""

    columns: slice
    mixed_in: LayerInput

    def __call__(self, x: F32, stream: F32) -> F32:
        """What it adds to the hidden states x [n, width]."""
        return self.mixed_in(x, stream[:, self.columns])


@dataclass(frozen=True)
class StreamLayer(AroundParts, InTwoSteps):
    """A layer of Gemma 4.

    Attributes:
        attention: its attention.
        width: the number of columns that are hidden states.
        input: the input of the layer; None: it has none.
        scale: multiplies the hidden states after the layer; None: nothing does.
    """

    attention: SharedAttention
    width: int
    input: InputColumns | None
    scale: F32 | None

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.attention.kept

    def alone(self) -> StreamLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _mixed(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self.width]
        y = self.attention(self.parts.before_mixing(x), stream, after)
        after[:, : self.width] = self.parts.after_mixing(x, y)
        return after

    def _fed_forward(self, stream: F32) -> F32:
        x = self.parts.fed_forward(stream[:, : self.width])
        if self.input is not None:
            x += self.input(x, stream)
        if self.scale is not None:
            x *= self.scale
        after: F32 = stream.copy()
        after[:, : self.width] = x
        return after
