"""The likeliest tokens of rows of logits, added tile by tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..forward.base import F32, Array
from ..forward.engines import engine_of, on_host

__all__ = ["N_BEST", "Best"]

N_BEST = 5
"""The base's likeliest tokens that are kept."""


class Best:
    """The `N_BEST` highest logits of n rows, and their tokens, where the logits are."""

    def __init__(self, n: int) -> None:
        self._logits: Array = np.full((n, N_BEST), -np.inf, np.float32)
        self._tokens: Array = np.full((n, N_BEST), -1, np.int64)

    def add(self, logits: F32, start: int) -> None:
        """Add the logits of a tile that starts at token `start`."""
        if isinstance(logits, np.ndarray):
            self._add_on_host(logits, start)
            return
        if isinstance(self._logits, np.ndarray):
            self._logits = np.asarray(self._logits, like=logits)
            self._tokens = np.asarray(self._tokens, like=logits)
        best_logits = engine_of(logits).best_logits
        assert best_logits is not None  # all devices have it
        best_logits(logits, start, self._logits, self._tokens)

    def _add_on_host(self, logits: F32, start: int) -> None:
        rows = np.flatnonzero(logits.max(axis=1) > self._logits[:, -1])
        own = logits[rows]
        n = min(N_BEST, own.shape[1])
        found = np.argpartition(own, own.shape[1] - n, axis=1)[:, -n:]
        values = np.take_along_axis(own, found, axis=1)
        values = np.concatenate([self._logits[rows], values], axis=1)
        tokens = np.concatenate([self._tokens[rows], found + start], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :N_BEST]
        self._logits[rows] = np.take_along_axis(values, order, axis=1)
        self._tokens[rows] = np.take_along_axis(tokens, order, axis=1)

    def rank_of(self, tokens: NDArray[np.int64]) -> NDArray[np.intp]:
        """The place of a token in each row, from 0; `N_BEST` if it has none."""
        is_there = on_host(self._tokens) == tokens[:, None]
        rank: NDArray[np.intp] = np.where(is_there.any(1), is_there.argmax(1), N_BEST)
        return rank
