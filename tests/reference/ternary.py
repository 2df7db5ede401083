"""The codes of the ternary types: 0, 1 and 2 for weights near -d, 0 and d."""

from __future__ import annotations

import numpy as np

from .numbers import F32, I32, first_peak, reciprocal, round_away

__all__ = ["ternary_codes"]


def ternary_codes(blocks: F32) -> tuple[F32, I32]:
    """The scale and codes of every block: the scale is the largest magnitude.

    Where the scale is so small that its reciprocal is infinite, every code is 1: there
    C rounds to an integer of 64 bits whose low half is 0.
    """
    scale = np.abs(first_peak(blocks))
    ratio = blocks * reciprocal(scale)[:, None]
    fits = np.isfinite(ratio)
    codes = round_away(np.where(fits, ratio, np.float32(0))).astype(np.int32) + 1
    return scale, codes
