"""Layers that see the keys which an earlier layer's indexer chose (GLM-5.2, HY 4).

The chosen positions are columns of the stream: after the hidden states, one column for
each key that a query may have, -1 if it has fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32, Activations
from .hyper_connections import HyperLayer
from .indexer import Mask
from .latent_attention import LatentAttention
from .layer import AroundParts, InTwoSteps
from .layers import normed
from .stack import Opening

__all__ = ["ChoosingHyperLayer", "ChoosingLayer", "Chosen", "ChosenOpening"]


@dataclass(frozen=True)
class Chosen:
    """Where the chosen keys are among the columns of the stream.

    Attributes:
        start: the first column: the width of hidden states, or of all residual streams.
        count: how many keys are chosen for a query, at most.
    """

    start: int
    count: int

    def put(self, stream: F32, chosen: Mask | None) -> None:
        """Write the keys that each query sees; None: all up to its own."""
        if chosen is None:
            return
        stream[:, self.start :] = -1
        query, key = np.nonzero(chosen)
        place = (np.cumsum(chosen, axis=1) - 1)[query, key]
        stream[query, self.start + place] = key

    def of(self, stream: F32) -> Mask | None:
        """The keys that each query sees: [n, n]; None: all up to its own."""
        n = len(stream)
        if n <= self.count:
            return None
        keys = stream[:, self.start :].astype(np.intp)
        query, place = np.nonzero(keys >= 0)
        chosen = np.zeros((n, n), bool)
        chosen[query, keys[query, place]] = True
        return chosen

    def attended(
        self, attention: LatentAttention, x: F32, stream: F32
    ) -> tuple[F32, Mask | None]:
        """The output [n, width] of a layer's attention, and the keys it chose.

        Args:
            attention: without an indexer, it uses the stream's keys.
            x: its normalized input [n, width].
            stream: the stream before the layer.
        """
        shared = Activations(x)
        latent = attention.latent_queries(shared)
        if attention.indexer is not None:
            chosen = attention.indexer(shared, latent)
            return attention.attended(shared, latent, chosen), chosen
        seen = self.of(stream) if attention.window is None else None
        return attention.attended(shared, latent, seen), None


@dataclass(frozen=True)
class ChosenOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    Before an indexer has chosen keys, each query sees its own.

    Attributes:
        chosen: where the chosen keys are.
        before: makes the columns before them; None: they are the embedded tokens.
    """

    chosen: Chosen
    before: Opening | None = None

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return self.chosen.start + self.chosen.count

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        stream = np.full((len(x), self.columns), -1, np.float32)
        first = x if self.before is None else self.before(x, tokens)
        stream[:, : self.chosen.start] = first
        stream[:, self.chosen.start] = np.arange(len(x))
        return stream


@dataclass(frozen=True)
class ChoosingLayer(AroundParts, InTwoSteps):
    """A layer that chooses keys, for itself and later layers, or uses chosen ones.

    Attributes:
        attention: its attention; without an indexer, it uses the stream's keys.
        chosen: where they are.
    """

    attention: LatentAttention
    chosen: Chosen

    def alone(self) -> ChoosingLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _mixed(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self.chosen.start]
        normal = self.parts.before_mixing(x)
        y, keys = self.chosen.attended(self.attention, normal, stream)
        self.chosen.put(after, keys)
        after[:, : self.chosen.start] = self.parts.after_mixing(x, y)
        return after

    def _fed_forward(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self.chosen.start]
        after[:, : self.chosen.start] = self.parts.fed_forward(x)
        return after


@dataclass(frozen=True)
class ChoosingHyperLayer(InTwoSteps):
    """The same with several residual streams.

    Attributes:
        parts: the layer's parts, and the connections around them.
        attention: its attention; without an indexer, it uses the stream's keys.
        chosen: where they are.
    """

    parts: HyperLayer
    attention: LatentAttention
    chosen: Chosen

    def alone(self) -> ChoosingHyperLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _mixed(self, stream: F32) -> F32:
        keys = None

        def part(x: F32, rest: F32) -> F32:
            nonlocal keys
            x = normed(x, self.parts.mixer_norm)
            y, keys = self.chosen.attended(self.attention, x, stream)
            return y

        after = self.parts.around_mixer.around(stream, part)
        self.chosen.put(after, keys)
        return after

    def _fed_forward(self, stream: F32) -> F32:
        return self.parts.fed_forward(stream)
