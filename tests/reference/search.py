"""The searches for scales that several types share.

Each takes x [..., n] and finds, for every group of n weights, the scale (and minimum)
and the codes that give the least weighted squared error, by trying a few scales.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .numbers import F32, I32, first_peak, low_byte, nearest_int, ordered_sum

__all__ = [
    "WEIGHTED_SEARCH",
    "MinSearch",
    "fit_positive",
    "fit_scale",
    "fit_scale_and_min",
    "fit_scale_by_exchange",
    "importance_weights",
    "nudged",
    "requantize",
]

_LOWEST = -(2**22)  # of nearest_int: no lower bound
_NO_WEIGHT = np.float32(1e-15)  # a group whose largest weight is smaller is all zero


def importance_weights(x: F32, importance: F32, mean_square: F32) -> F32:
    """The weight of each error: importance times a floor under the magnitude."""
    return importance * np.sqrt(mean_square[..., None] + x * x)


def fit_scale(x: F32, n_max: int, weights: F32) -> tuple[F32, I32]:
    """Scale, and codes 0..2*n_max-1 that stand for -n_max..n_max-1."""
    peak = first_peak(x)

    def codes_at(inverse: F32) -> I32:
        return np.clip(nearest_int(inverse[..., None] * x), -n_max, n_max - 1)

    def sums(codes: I32) -> tuple[F32, F32]:
        code = codes.astype(np.float32)
        return ordered_sum(weights * x * code), ordered_sum(weights * code * code)

    codes = codes_at(np.float32(-n_max) / peak)
    cross, square = sums(codes)
    scale = np.where(square != 0, cross / square, np.float32(0))
    best = scale * cross
    for step in (s for s in range(-9, 10) if s != 0):
        trial = codes_at(-nudged(n_max, 0.1, step) / peak)
        cross, square = sums(trial)
        better = (square > 0) & (cross * cross > best * square)
        codes = np.where(better[..., None], trial, codes)
        scale = np.where(better, cross / square, scale)
        best = np.where(better, scale * cross, best)
    is_empty = np.abs(peak) < _NO_WEIGHT
    scale = np.where(is_empty, np.float32(0), scale)
    return scale, np.where(is_empty[..., None], 0, codes + n_max)


def fit_scale_by_exchange(x: F32, n_max: int) -> tuple[F32, I32]:
    """As `fit_scale` with weights x*x, but by changing one code at a time."""
    peak = first_peak(x)
    inverse = np.float32(-n_max) / peak
    codes = np.clip(nearest_int(inverse[..., None] * x), -n_max, n_max - 1)
    scale, codes = _exchange(x, x * x, codes, -n_max, n_max - 1)
    is_empty = np.abs(peak) < _NO_WEIGHT
    scale = np.where(is_empty, np.float32(0), scale)
    return scale, np.where(is_empty[..., None], 0, codes + n_max)


def fit_positive(x: F32, n_max: int, weights: F32) -> tuple[F32, I32]:
    """Scale and codes 0..n_max for values that should not be negative.

    Codes are bytes: a negative value, which a search may yield, wraps.
    """
    peak = np.zeros(x.shape[:-1], np.float32)
    for j in range(x.shape[-1]):
        peak = np.where(peak > x[..., j], peak, x[..., j])

    def error(scale: F32, codes: I32) -> F32:
        off = x - scale[..., None] * codes.astype(np.float32)
        return ordered_sum(weights * off * off)

    inverse = np.float32(n_max) / peak
    codes = low_byte(nearest_int(inverse[..., None] * x)).astype(np.int32)
    best = error(np.float32(1) / inverse, codes)
    for step in (s for s in range(-4, 5) if s != 0):
        trial = nudged(n_max, 0.1, step) / peak
        codes = np.minimum(nearest_int(trial[..., None] * x), n_max)
        mse = error(np.float32(1) / trial, codes)
        better = mse < best
        best = np.where(better, mse, best)
        inverse = np.where(better, trial, inverse)
    codes = np.minimum(nearest_int(inverse[..., None] * x), n_max)
    scale, codes = _exchange(x, weights, codes, _LOWEST, n_max, as_bytes=True)
    is_empty = peak < _NO_WEIGHT
    scale = np.where(is_empty, np.float32(0), scale)
    return scale, np.where(is_empty[..., None], 0, codes)


def _exchange(
    x: F32, weights: F32, codes: I32, low: int, high: int, as_bytes: bool = False
) -> tuple[F32, I32]:
    """Improve codes one after the other, five times over, and fit the scale."""
    code = codes.astype(np.float32)
    cross = ordered_sum(weights * x * code)
    square = ordered_sum(weights * code * code)
    codes = low_byte(codes).astype(np.int32) if as_bytes else codes
    for j in [*range(x.shape[-1])] * 5:
        w, v, old = weights[..., j], x[..., j], codes[..., j]
        code = old.astype(np.float32)
        rest_cross, rest_square = cross - w * v * code, square - w * code * code
        ideal = np.divide(v * rest_square, rest_cross)
        new = np.clip(nearest_int(ideal), low, high)
        code = new.astype(np.float32)
        new_cross, new_square = rest_cross + w * v * code, rest_square + w * code * code
        better = (rest_cross > 0) & (new != old)
        better &= (rest_square if as_bytes else new_square) > 0
        better &= new_cross * new_cross * square > cross * cross * new_square
        codes[..., j] = np.where(better, low_byte(new) if as_bytes else new, old)
        cross = np.where(better, new_cross, cross)
        square = np.where(better, new_square, square)
    return np.where(square > 0, cross / square, np.float32(0)), codes


class MinSearch(NamedTuple):
    """How `fit_scale_and_min` searches.

    Attributes:
        first: added to n_max for the first scale tried.
        step: added for each further one.
        n_steps: how many further ones.
        absolute: measure |error| instead of its square.
        guarded: codes of values out of range are clamped before they can wrap.
    """

    first: float
    step: float
    n_steps: int
    absolute: bool = False
    guarded: bool = False


# The search of every type with a minimum, where importance is given.
WEIGHTED_SEARCH = MinSearch(first=-0.9, step=0.05, n_steps=36, guarded=True)


def fit_scale_and_min(
    x: F32, n_max: int, weights: F32, search: MinSearch
) -> tuple[F32, F32, I32]:
    """Scale, minus the minimum, and codes 0..n_max; the minimum is never above 0."""
    low, high = x[..., 0], x[..., 0]
    sum_w, sum_x = weights[..., 0], weights[..., 0] * x[..., 0]
    for j in range(1, x.shape[-1]):
        low = np.where(x[..., j] < low, x[..., j], low)
        high = np.where(x[..., j] > high, x[..., j], high)
        sum_w = sum_w + weights[..., j]
        sum_x = sum_x + weights[..., j] * x[..., j]
    low = np.where(low > 0, np.float32(0), low)
    is_flat = high == low
    start = low

    def error(scale: F32, low: F32, codes: I32) -> F32:
        off = scale[..., None] * codes.astype(np.float32) + low[..., None] - x
        return ordered_sum(weights * (np.abs(off) if search.absolute else off * off))

    def codes_at(inverse: F32, low: F32, guarded: bool) -> I32:
        v = inverse[..., None] * (x - low[..., None])
        if guarded:
            v = np.where(v > 0, np.where(v < n_max, v, np.float32(n_max)), 0)
        return np.clip(nearest_int(v.astype(np.float32)), 0, n_max)

    inverse = np.float32(n_max) / (high - low)
    scale = np.float32(1) / inverse
    codes = codes_at(inverse, low, guarded=False)
    best = error(scale, low, codes)
    for i in range(search.n_steps + 1):
        inverse = nudged(n_max, search.step, i, search.first) / (high - low)
        trial = codes_at(inverse, low, search.guarded)
        solvable, new_scale, new_low = _least_squares(x, trial, weights, sum_w, sum_x)
        new_error = error(new_scale, new_low, trial)
        better = solvable & (new_error < best)
        codes = np.where(better[..., None], trial, codes)
        best = np.where(better, new_error, best)
        scale = np.where(better, new_scale, scale)
        low = np.where(better, new_low, low)
    scale = np.where(is_flat, np.float32(0), scale)
    low = np.where(is_flat, start, low)
    return scale, -low, np.where(is_flat[..., None], 0, codes)


def _least_squares(
    x: F32, codes: I32, weights: F32, sum_w: F32, sum_x: F32
) -> tuple[NDArray[np.bool_], F32, F32]:
    """Whether codes have a best scale and minimum, and which; the minimum is <= 0."""
    code = codes.astype(np.float32)
    sum_l = ordered_sum(weights * code)
    sum_l2 = ordered_sum(weights * code * code)
    sum_xl = ordered_sum(weights * code * x)
    determinant = sum_w * sum_l2 - sum_l * sum_l
    scale = np.divide(sum_w * sum_xl - sum_x * sum_l, determinant)
    low = np.divide(sum_l2 * sum_x - sum_l * sum_xl, determinant)
    scale = np.where(low > 0, sum_xl / sum_l2, scale)
    return determinant > 0, scale, np.where(low > 0, np.float32(0), low)


def nudged(n_max: int, step: float, i: int, first: float = 0.0) -> np.float32:
    """n_max + (first + i * step), each operation rounded to f32."""
    nudged: np.float32 = np.float32(first) + np.float32(step) * np.float32(i)
    nudged += np.float32(n_max)
    return nudged


def requantize(
    x: F32, scale: F32, minimum: F32, codes: I32, low: int, high: int
) -> I32:
    """Codes for the scales as stored; where a scale is 0, the codes of the search."""
    fresh = nearest_int((x + minimum[..., None]) / scale[..., None])
    return np.where(scale[..., None] == 0, codes, np.clip(fresh, low, high) - low)
