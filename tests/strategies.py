"""Rows of weights that are hard for quantizers; each kind has a name.

`adversarial_rows` lists them all, always the same for one seed; `rows` lets hypothesis
patch rows together from them, block by block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = ["ROW_KINDS", "adversarial_rows", "importances", "row", "rows"]

F32 = NDArray[np.float32]
Rng = np.random.Generator


def _steps(rng: Rng, n: int, step: float, most: int) -> F32:
    """Multiples of a step: exact halves between two codes are common."""
    return (step * rng.integers(-most, most, n, endpoint=True)).astype(np.float32)


def _outlier(rng: Rng, n: int) -> F32:
    x = 0.01 * rng.standard_normal(n)
    x[rng.integers(n)] = 1000.0
    return x.astype(np.float32)


def _sparse(rng: Rng, n: int) -> F32:
    return np.where(rng.random(n) < 0.05, rng.standard_normal(n), 0).astype(np.float32)


def _shared_peak(rng: Rng, n: int) -> F32:
    """The extremes +1 and -1 both occur, many times: the first one decides."""
    return rng.choice([-1.0, -0.5, 0.25, 1.0], n).astype(np.float32)


def _neighbours(rng: Rng, n: int) -> F32:
    """Values one ulp apart: a range of almost zero."""
    x: F32 = np.nextafter(np.float32(1), rng.integers(1, 3, n).astype(np.float32))
    return x


def _magnitudes(rng: Rng, n: int) -> F32:
    """Every magnitude from 1e-12 to 1e6 in one row."""
    return (rng.standard_normal(n) * 10 ** rng.uniform(-12, 6, n)).astype(np.float32)


def _zero_block(rng: Rng, n: int) -> F32:
    """Zeros in half of the groups of 16."""
    x = rng.standard_normal(n)
    x[np.arange(n) // 16 % 2 == 0] = 0
    return x.astype(np.float32)


def _bf16(rng: Rng, n: int) -> F32:
    """Weights as checkpoints hold them, with few mantissa bits."""
    x = (0.02 * rng.standard_normal(n)).astype(np.float32)
    return (x.view(np.uint32) >> 16 << 16).view(np.float32)


def _normal(scale: float) -> Callable[[Rng, int], F32]:
    return lambda rng, n: (scale * rng.standard_normal(n)).astype(np.float32)


ROW_KINDS: dict[str, Callable[[Rng, int], F32]] = {
    "normal": _normal(0.02),
    "bf16": _bf16,
    "heavy_tail": lambda rng, n: rng.standard_t(2, n).astype(np.float32),
    "outlier": _outlier,
    "magnitudes": _magnitudes,
    "sparse": _sparse,
    "zero": lambda rng, n: np.zeros(n, np.float32),
    "negative_zero": lambda rng, n: np.full(n, -0.0, np.float32),
    "both_zeros": lambda rng, n: rng.choice([0.0, -0.0], n).astype(np.float32),
    "zero_block": _zero_block,
    "one_weight": lambda rng, n: (np.arange(n) == rng.integers(n)).astype(np.float32),
    "constant": lambda rng, n: np.full(n, 0.37, np.float32),
    "negative_constant": lambda rng, n: np.full(n, -0.37, np.float32),
    "all_negative": lambda rng, n: -np.abs(_normal(1)(rng, n)),
    "all_positive": lambda rng, n: np.abs(_normal(1)(rng, n)) + np.float32(1),
    "ramp": lambda rng, n: np.linspace(-1, 1, n, dtype=np.float32),
    "ties_of_16ths": lambda rng, n: _steps(rng, n, 1 / 16, 16),
    "ties_of_254ths": lambda rng, n: _steps(rng, n, 0.5, 254),
    "ties_of_30ths": lambda rng, n: _steps(rng, n, 0.5, 30),
    "shared_peak": _shared_peak,
    "neighbours": _neighbours,
    "tiny": _normal(1e-6),  # scales are subnormal as f16
    "vanishing": _normal(1e-9),  # scales are 0 as f16
    "below_threshold": _normal(3e-16),  # about where searches call a group zero
    "square_underflows": _normal(1e-20),
    "subnormal": _normal(1e-39),
    "large": _normal(1e4),
    "scale_overflows": _normal(1e7),  # scales are infinite as f16
    "square_overflows": _normal(1e30),
}


def row(kind: str, n_cols: int, seed: int = 0) -> F32:
    """A row of the kind called `kind`."""
    return ROW_KINDS[kind](np.random.default_rng([seed, n_cols]), n_cols)


def adversarial_rows(n_rows: int, n_cols: int, seed: int = 0) -> F32:
    """f32 [n_rows, n_cols], the kinds of `ROW_KINDS` in turn."""
    kinds = list(ROW_KINDS)
    chosen = [row(kinds[i % len(kinds)], n_cols, seed + i) for i in range(n_rows)]
    return np.stack(chosen)


@st.composite
def rows(draw: st.DrawFn, n_cols: int = 256) -> F32:
    """f32 [1, n_cols], another kind in every 32 weights, and a few weights chosen."""
    kinds = draw(
        st.lists(
            st.sampled_from(list(ROW_KINDS)),
            min_size=n_cols // 32,
            max_size=n_cols // 32,
        )
    )
    seed = draw(st.integers(0, 2**16))
    x = np.concatenate([row(kind, 32, seed + i) for i, kind in enumerate(kinds)])
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    places = st.integers(0, n_cols - 1)
    for place, value in draw(st.dictionaries(places, finite, max_size=4)).items():
        x[place] = value
    return x[None]


@st.composite
def importances(draw: st.DrawFn, n_cols: int = 256) -> F32 | None:
    """None, or f32 [n_cols] from mean squares that span magnitudes, zeros included."""
    seed = draw(st.none() | st.integers(0, 2**16))
    if seed is None:
        return None
    rng = np.random.default_rng(seed)
    spread = draw(st.sampled_from([0.5, 3.0, 12.0]))
    squares = np.exp(spread * rng.standard_normal(n_cols))
    is_dead = rng.random(n_cols) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    return np.where(is_dead, 0, squares).astype(np.float32)
