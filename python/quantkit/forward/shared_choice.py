"""Layers that see the keys which an earlier layer's indexer chose (GLM-5.2).

The chosen positions are columns of the stream: after the hidden states, one column for
each key that a query may have, -1 if it has fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32, Activations
from .indexer import Mask
from .kept import Kept, State
from .latent_attention import LatentAttention
from .layer import AroundParts, InTwoSteps

__all__ = ["ChoosingLayer", "Chosen", "ChosenOpening"]


@dataclass(frozen=True)
class Chosen:
    """Where the chosen keys are among the columns of the stream.

    Attributes:
        start: the first column: the width of hidden states.
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


@dataclass(frozen=True)
class ChosenOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    Before an indexer has chosen keys, each query sees its own.
    """

    chosen: Chosen

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return self.chosen.start + self.chosen.count

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        stream = np.full((len(x), self.columns), -1, np.float32)
        stream[:, : self.chosen.start] = x
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

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.attention.kept

    def alone(self) -> ChoosingLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _mixed(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self.chosen.start]
        shared = Activations(self.parts.before_mixing(x))
        latent = self.attention.latent_queries(shared)
        chosen = None
        if self.attention.indexer is not None:
            chosen = self.attention.indexer(shared, latent)
            self.chosen.put(after, chosen)
        elif self.attention.window is None:
            chosen = self.chosen.of(stream)
        y = self.attention.attended(shared, latent, chosen)
        after[:, : self.chosen.start] = self.parts.after_mixing(x, y)
        return after

    def _fed_forward(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self.chosen.start]
        after[:, : self.chosen.start] = self.parts.fed_forward(x)
        return after
