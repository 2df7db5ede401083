"""Layers that see the keys which an earlier layer's indexer chose (GLM-5.2, 5.3, HY 4).

The chosen positions are columns of the stream: after all others, one column for each
key that a query may have, -1 if it has fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32, Activations
from .hyper_connections import HyperLayer
from .indexer import Mask
from .kept import Kept, State
from .latent_attention import LatentAttention
from .layer import AroundParts, InTwoSteps
from .layers import normed
from .sequences import length_of, positions_of
from .stack import Opening

__all__ = [
    "ChoosingAttention",
    "ChoosingHyperLayer",
    "ChoosingLayer",
    "Chosen",
    "ChosenOpening",
]


@dataclass(frozen=True)
class Chosen:
    """Where the chosen keys are among the columns of the stream.

    Attributes:
        start: the first column.
        count: how many keys are chosen for a query, at most.
    """

    start: int
    count: int

    def put(self, stream: F32, chosen: Mask | None) -> None:
        """Write the keys that each query sees; None: all up to its own."""
        if chosen is None:
            return
        n = chosen.shape[1]
        keys = np.where(chosen, np.arange(n, like=chosen), n)
        first = np.sort(keys, axis=1)[:, : self.count]
        stream[:, self.start :] = np.where(first < n, first, -1)

    def of(self, stream: F32) -> Mask | None:
        """The keys that each query sees: [rows, n]; None: all up to its own."""
        n = length_of(stream)
        if n <= self.count:
            return None
        keys = stream[:, self.start :].astype(np.intp)
        chosen = np.zeros_like(keys, dtype=bool, shape=(len(keys), n + 1))
        np.put_along_axis(chosen, np.where(keys < 0, n, keys), True, axis=1)
        return chosen[:, :n]


@dataclass(frozen=True)
class ChosenOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    Before an indexer has chosen keys, each query sees its own.

    Attributes:
        chosen: where the chosen keys are.
        before: makes the columns before them; None: these are the embedded tokens.
    """

    chosen: Chosen
    before: Opening | None = None

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return self.chosen.start + self.chosen.count

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        stream = np.full_like(x, -1, shape=(len(x), self.columns))
        columns = x if self.before is None else self.before(x, tokens)
        stream[:, : self.chosen.start] = columns
        stream[:, self.chosen.start] = positions_of(x)
        return stream


@dataclass(frozen=True)
class ChoosingAttention:
    """Attention that chooses keys, for itself and later layers, or uses chosen ones.

    Attributes:
        attention: without an indexer, it uses the stream's keys.
        chosen: where they are.
    """

    attention: LatentAttention
    chosen: Chosen

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `layer.Mixer.kept`."""
        return self.attention.kept

    def alone(self) -> ChoosingAttention:
        """The same, with each position seeing only itself."""
        return replace(self, attention=self.attention.alone())

    def __call__(self, x: F32, stream: F32) -> F32:
        """Normalized x [n, width] -> [n, width].

        Args:
            x: the layer's normalized input.
            stream: the layer's stream [n, columns], where the chosen keys are written.
        """
        shared = Activations(x)
        latent = self.attention.latent_queries(shared)
        chosen = None
        if self.attention.indexer is not None:
            chosen = self.attention.indexer(shared, latent)
            self.chosen.put(stream, chosen)
        elif self.attention.window is None:
            chosen = self.chosen.of(stream)
        return self.attention.attended(shared, latent, chosen)


@dataclass(frozen=True)
class ChoosingLayer(AroundParts, InTwoSteps):
    """A layer with attention that chooses keys, or uses chosen ones.

    Attributes:
        choosing: its attention.
    """

    choosing: ChoosingAttention

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.choosing.kept

    def alone(self) -> ChoosingLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, choosing=self.choosing.alone())

    def _mixed(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        x = stream[:, : self._width]
        y = self.choosing(self.parts.before_mixing(x), after)
        after[:, : self._width] = self.parts.after_mixing(x, y)
        return after

    def _fed_forward(self, stream: F32) -> F32:
        after: F32 = stream.copy()
        after[:, : self._width] = self.parts.fed_forward(stream[:, : self._width])
        return after

    @property
    def _width(self) -> int:
        return self.choosing.chosen.start


@dataclass(frozen=True)
class ChoosingHyperLayer(HyperLayer):
    """The same on several streams; see `hyper_connections`.

    Attributes:
        choosing: its attention, in place of `mixer`.
    """

    choosing: ChoosingAttention = field(kw_only=True)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.choosing.kept

    def alone(self) -> ChoosingHyperLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, choosing=self.choosing.alone())

    def _mixed(self, columns: F32) -> F32:
        after: F32 = columns.copy()

        def part(x: F32, rest: F32) -> F32:
            return self.choosing(normed(x, self.mixer_norm), after)

        return self.around_mixer.around(after, part)
