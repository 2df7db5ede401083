"""Scale and codes of blocks of 32 weights, as Q4_0, Q5_0, Q4_1 and Q5_1 choose them."""

from __future__ import annotations

import numpy as np

from .numbers import (
    F32,
    I32,
    blocks_of,
    first_peak,
    low_byte,
    ordered_sum,
    reciprocal,
    truncate,
)
from .search import WEIGHTED_SEARCH, fit_scale, fit_scale_and_min, importance_weights

__all__ = ["min_codes", "symmetric_codes"]


def symmetric_codes(x: F32, n_max: int, importance: F32 | None) -> tuple[F32, I32]:
    """The scale and codes of every block; code c stands for scale * (c - n_max)."""
    blocks = blocks_of(x, 32)
    if importance is not None:
        return fit_scale(blocks, n_max, _weights(x, importance))
    scale = first_peak(blocks) / np.float32(-n_max)
    scaled = blocks * reciprocal(scale)[:, None]
    codes = _signed_byte(truncate(scaled + np.float32(n_max + 0.5)))
    return scale, np.minimum(codes, 2 * n_max - 1)


def min_codes(x: F32, n_max: int, importance: F32 | None) -> tuple[F32, F32, I32]:
    """The scale, minimum and codes 0..n_max of every block."""
    blocks = blocks_of(x, 32)
    if importance is not None:
        weights = _weights(x, importance)
        search = WEIGHTED_SEARCH
        scale, negated, codes = fit_scale_and_min(blocks, n_max, weights, search)
        return scale, -negated, codes
    low = high = blocks[:, 0]
    for j in range(1, 32):
        low = np.where(blocks[:, j] < low, blocks[:, j], low)
        high = np.where(blocks[:, j] > high, blocks[:, j], high)
    scale = (high - low) / np.float32(n_max)
    scaled = (blocks - low[:, None]) * reciprocal(scale)[:, None]
    return scale, low, truncate(scaled + np.float32(0.5))


def _weights(x: F32, importance: F32) -> F32:
    """The error weights; the mean square is that of the whole row."""
    mean_square = ordered_sum(x * x) / np.float32(x.shape[-1])
    return blocks_of(importance_weights(x, importance, mean_square), 32)


def _signed_byte(x: I32) -> I32:
    return low_byte(x).view(np.int8).astype(np.int32)
