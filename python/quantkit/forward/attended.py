"""Watch the attention of a layer while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engines import on_host

__all__ = ["Attended", "notice", "watching_attention"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Attended:
    """One call of `ops.attention`.

    Attributes:
        q, k, v, scale, window, cap, slopes, sinks: its arguments.
        mask: [1 or kv heads, n, keys]; None: causal.
        out: its result: [n, heads, value size].
    """

    q: F32
    k: F32
    v: F32
    out: F32
    scale: float
    window: int | None
    cap: float | None
    slopes: F32 | None
    sinks: F32 | None
    mask: NDArray[np.bool_] | None = None

    def on_host(self) -> Attended:
        """The same in the host's memory."""
        own: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        here: dict[str, Any] = {
            name: on_host(value) for name, value in own.items() if hasattr(value, "get")
        }
        return replace(self, **here)

    def probabilities(self, head: int) -> F32:
        """The attention of a head: [n, keys], of each query to each key."""
        kv_head = head * self.k.shape[1] // self.q.shape[1]
        scores: F32 = self.scale * (self.q[:, head] @ self.k[:, kv_head].T)
        if self.cap:
            scores = self.cap * np.tanh(scores / self.cap)
        distance = np.arange(len(self.q))[:, None] - np.arange(len(self.k))
        if self.slopes is not None:
            scores -= self.slopes[head] * distance
        scores[~self._seen(distance, kv_head)] = -np.inf
        highest = scores.max(axis=1, keepdims=True)
        rest = np.zeros_like(highest)
        if self.sinks is not None:
            highest = np.maximum(highest, self.sinks[head])
            rest = np.exp(self.sinks[head] - highest)
        shares: F32 = np.exp(scores - highest)
        shares /= shares.sum(axis=1, keepdims=True) + rest
        return shares

    def _seen(self, distance: NDArray[np.intp], kv_head: int) -> NDArray[np.bool_]:
        """Which keys each query sees."""
        if self.mask is None:
            return (distance >= 0) & (distance < (self.window or len(self.k)))
        seen: NDArray[np.bool_] = self.mask[kv_head if len(self.mask) > 1 else 0]
        return seen


_watch: ContextVar[Callable[[Attended], None] | None] = ContextVar(
    "_watch", default=None
)


def notice(attended: Attended) -> None:
    """Give a call to who watches, if anyone does."""
    if (watch := _watch.get()) is not None:
        watch(attended)


@contextmanager
def watching_attention(watch: Callable[[Attended], None]) -> Iterator[None]:
    """Call `watch` for each call of `ops.attention` in this thread."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)
