"""SparseMixer's choice of two experts, one after the other (arXiv:2409.12136).

Source of the details: transformers, modeling_phimoe.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import F32

__all__ = ["sparsemixer"]

NEAR = 0.02
"""Scores compete if they are this near to the best, as a share of the larger one."""


def sparsemixer(scores: F32, used: int) -> tuple[NDArray[np.intp], F32]:
    """The chosen experts of each token, best first, and their weights: [n, used].

    The weight of an expert is its softmax among the experts that are not chosen yet
    and whose scores are near to its own.

    Args:
        scores: of experts [n, experts].
        used: how many to choose.
    """
    left = scores.copy()
    shape = len(scores), used
    chosen = np.empty_like(scores, dtype=np.intp, shape=shape)
    share = np.empty_like(scores, shape=shape)
    for place in range(used):
        best = left.argmax(axis=-1)[:, None]
        most = np.take_along_axis(left, best, axis=-1)
        is_far = most - scores > np.float32(NEAR) * np.maximum(np.abs(scores), most)
        near = np.where(is_far, np.float32(-np.inf), left)
        weights = np.exp(near - most)
        chosen[:, place, None] = best
        share[:, place] = 1 / weights.sum(axis=-1)
        np.put_along_axis(left, best, np.float32(-np.inf), axis=-1)
    return chosen, share
