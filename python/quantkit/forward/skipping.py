"""Layers that add the embedding again, times a number for each layer (Talkie).

The columns of the stream are the hidden states, and after them the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32
from .layer import AroundParts, InTwoSteps

__all__ = ["SkipOpening", "Skipping"]


@dataclass(frozen=True)
class SkipOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    Attributes:
        columns: the number of columns of the stream.
    """

    columns: int

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] -> [n, columns]."""
        return np.concatenate([x, x], axis=1)


@dataclass(frozen=True)
class Skipping(AroundParts, InTwoSteps):
    """A layer that adds the embedding to the hidden states after its parts.

    Attributes:
        width: the number of columns that are hidden states.
        scale: what the embedding is multiplied by: f32 [1].
    """

    width: int
    scale: F32

    def alone(self) -> Skipping:
        """The layer for rows that are sequences of one token each."""
        return replace(self, parts=self.parts.alone())

    def _mixed(self, stream: F32) -> F32:
        mixed, _ = self.parts.steps
        return self._after(stream, mixed(stream[:, : self.width]))

    def _fed_forward(self, stream: F32) -> F32:
        x = self.parts.fed_forward(stream[:, : self.width])
        return self._after(stream, x + stream[:, self.width :] * self.scale)

    def _after(self, stream: F32, x: F32) -> F32:
        """The stream with other hidden states."""
        return np.concatenate([x, stream[:, self.width :]], axis=1)
