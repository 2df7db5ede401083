"""Which keys the queries of a layer see, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32
from .sequences import by_sequence, length_of, positions_of

__all__ = ["Mask", "Sight"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sight:
    """How a layer's queries see keys.

    Attributes:
        causal: queries see no later keys; otherwise, a window has two sides.
        chunk: the number of positions of a chunk; a query sees only keys of its own
            chunk.  None: there are no chunks.
        is_alone: each position is a sequence.
        scale, window, cap, slopes, sinks: see `ops.attention`.
    """

    causal: bool = True
    chunk: int | None = None
    is_alone: bool = False
    scale: float | None = None
    window: int | None = None
    cap: float | None = None
    slopes: F32 | None = None
    sinks: F32 | None = None

    def mixed(self, q: F32, k: F32, v: F32, chosen: Mask | None = None) -> F32:
        """What queries get of the values: [n, heads * value size].

        Args:
            q, k, v: see `ops.attention`.
            chosen: which keys each query sees, if that is chosen; see `ops.attention`.
        """
        mask = None if self.is_alone else chosen
        if not self.causal:
            mask = _both_sides(q, self.window)
        if self.chunk is None or length_of(q) <= self.chunk:
            return self._attended(q, k, v, mask)
        assert mask is None, "a model with chunks chooses no keys"
        return by_sequence(self._in_chunks, q, k, v)

    def _in_chunks(self, q: F32, k: F32, v: F32) -> F32:
        """What queries of one sequence get of the values of their own chunks."""
        assert self.chunk is not None
        starts = range(0, len(q), self.chunk)
        chunks = (slice(start, start + self.chunk) for start in starts)
        return np.concatenate([self._attended(q[c], k[c], v[c]) for c in chunks])

    def _attended(self, q: F32, k: F32, v: F32, mask: Mask | None = None) -> F32:
        return ops.attention(
            q,
            k,
            v,
            scale=self.scale,
            window=self.window,
            mask=mask,
            cap=self.cap,
            slopes=self.slopes,
            sinks=self.sinks,
        )

    def alone(self) -> Sight:
        """The same, with each position seeing only itself."""
        return replace(self, window=1, is_alone=True)


def _both_sides(q: F32, window: int | None) -> Mask:
    """Which keys queries see on both sides, half of a window each: [rows, n]."""
    n = length_of(q)
    distance = np.abs(positions_of(q)[:, None] - np.arange(n, like=q))
    seen: Mask = distance <= (n if window is None else window // 2)
    return seen
