"""Positions of sounds as sines and cosines, which are computed, not stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.exponential import exponential
from ..checkpoint.lazy import LazyTensor, computed

__all__ = ["wave_positions"]

N_POSITIONS = 1500
LONGEST = 10000
"""Positions of sounds, and the longest of the waves that tell them apart."""


def wave_positions(width: int) -> LazyTensor:
    """Sines and cosines of positions: f32 [N_POSITIONS, width].

    torch, in which llama.cpp's converter computes them, gives other numbers for a
    twentieth of them, by one unit in the last place; these are the nearest ones.
    """
    n_waves = width // 2
    step = np.float32(-np.log(LONGEST) / max(n_waves - 1, 1))
    steps = exponential(step * np.arange(n_waves, dtype=np.float32))
    turns = np.arange(N_POSITIONS, dtype=np.float32)[:, None] * steps
    angles: NDArray[np.float64] = turns.astype(np.float64)
    return computed(np.concatenate([np.sin(angles), np.cos(angles)], axis=1))
