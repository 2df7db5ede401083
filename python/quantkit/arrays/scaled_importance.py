"""Scale importance that is so large that sums overflow in the quantizers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_IMPORTANCE", "scaled_importance"]

LARGEST_IMPORTANCE = 2.0**40
"""Larger importance is scaled: a thousand times the mean squares of the largest known
activations.  With weights below 1000 no square of a sum over a block overflows."""


def scaled_importance(importance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Importance as it is, or divided by a power of two if it is extremely large.

    Only the ratios matter.  ggml's quantizers square sums of importance times weights;
    if these overflow, any scale seems to be the best, and some become infinite.

    Args:
        importance: f32, any shape; NaN and infinities are not changed.
    """
    largest = importance.max(initial=0)
    if not LARGEST_IMPORTANCE < largest < np.inf:
        return importance
    _, excess = np.frexp(largest / np.float32(LARGEST_IMPORTANCE))
    scaled: NDArray[np.float32] = np.ldexp(importance, -excess)
    return scaled
