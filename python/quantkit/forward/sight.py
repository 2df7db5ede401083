"""Which keys the queries of a layer see, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32

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
            mask = _both_sides(len(q), self.window)
        size = self.chunk or len(q)
        rows = (slice(start, start + size) for start in range(0, len(q), size))
        parts = [
            ops.attention(
                q[each],
                k[each],
                v[each],
                scale=self.scale,
                window=self.window,
                mask=mask,
                cap=self.cap,
                slopes=self.slopes,
                sinks=self.sinks,
            )
            for each in rows
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def alone(self) -> Sight:
        """The same, with each position seeing only itself."""
        return replace(self, window=1, is_alone=True)


def _both_sides(n: int, window: int | None) -> Mask:
    """Which keys queries see before and after them, half of a window each: [n, n]."""
    positions = np.arange(n)
    distance = np.abs(positions[:, None] - positions)
    seen: Mask = distance <= (n if window is None else window // 2)
    return seen
