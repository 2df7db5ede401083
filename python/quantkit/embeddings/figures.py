"""What embeddings are compared by: cosine distances, and the nearest passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..forward.base import F32

__all__ = ["N_NEAREST", "cosine_distance", "nearest", "shared_nearest", "units"]

F64 = NDArray[np.float64]
Places = NDArray[np.intp]

N_NEAREST = 10
"""How many of the nearest passages are compared."""
ROWS = 256
"""Passages whose similarities to all others are in memory at a time."""


def units(vectors: Sequence[F32]) -> F64:
    """Vectors [n, components] divided by their lengths; NaN for one of length 0."""
    stacked = np.stack(vectors).astype(np.float64)
    with np.errstate(invalid="ignore"):
        made: F64 = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return made


def cosine_distance(one: F64, other: F64) -> F64:
    """1 - cosine of the angle between rows [n, components] of length 1: [n].

    It is half the squared distance of their ends, in which nothing cancels: exactly 0
    for equal rows, and precise for rows that differ little.
    """
    distance: F64 = np.square(one - other).sum(axis=1) / 2
    return distance


def nearest(rows: F64) -> Places:
    """The most similar other rows of each row [n, components] of length 1.

    Returns:
        [n, min(n - 1, N_NEAREST)], the most similar first; of rows that are equally
        similar in f32, the first one first.
    """
    n_found = min(len(rows) - 1, N_NEAREST)
    found = []
    with threadpool_limits(1, "blas"):  # so that sums have one order
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            similar = (some @ rows.T).astype(np.float32)
            own = np.arange(len(some))
            similar[own, start + own] = -np.inf
            found.append(_largest(similar, n_found))
    return np.concatenate(found)


def _largest(similar: F32, n: int) -> Places:
    """The columns of the n largest values of each row, of which it takes them."""
    rows, places = np.arange(len(similar)), []
    for _ in range(n):
        places.append(similar.argmax(axis=1))  # of equal ones, the first
        similar[rows, places[-1]] = -np.inf
    return np.stack(places, axis=1)


def shared_nearest(one: Places, other: Places) -> F64:
    """Which share of each row's nearest rows are the same: [n]."""
    common = (one[:, :, None] == other[:, None, :]).any(axis=2)
    share: F64 = common.mean(axis=1)
    return share
