"""The search of the types IQ2 and IQ3: magnitudes on a codebook, signs apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import Codebook
from .numbers import F32, I32, U8, low_byte, nearest_int, ordered_sum, value_of_f16
from .search import fit_positive, nudged

__all__ = [
    "Fit",
    "GridSearch",
    "even_signs",
    "fit_on_grid",
    "half_odd_scales",
    "odd_scale_codes",
    "signs_of",
    "split_signs",
]


class GridSearch(NamedTuple):
    """How `fit_on_grid` searches.

    Attributes:
        n_steps: how many scales are tried on either side.
        step: between them, in units of levels.
        least: a group whose largest magnitude is smaller is empty.
        even: the number of negative signs of 8 weights is made even.
        refit: what takes new points for the scale found: the points that were not the
            levels wanted ("off"), all of a group where one was not ("group"), or all.
        from_fit: the search begins at a scale fitted without the codebook.
    """

    n_steps: int
    step: float
    least: float
    even: bool = False
    refit: str = "off"
    from_fit: bool = False


class Fit(NamedTuple):
    """What `fit_on_grid` finds.

    Attributes:
        scales: [...], not negative, or NaN; 0 for an empty group.
        points: numbers of points [..., n / size]; 0 in an empty group.
        signs: a byte for every 8 weights [..., n / 8]; 0 in an empty group.
        is_empty: [...].
    """

    scales: F32
    points: I32
    signs: U8
    is_empty: NDArray[np.bool_]


def split_signs(x: F32, weights: F32, even: bool) -> tuple[F32, U8]:
    """Magnitudes [..., n], and a byte of signs for every 8 of them.

    To make the number of negative signs even, the sign that matters least is changed,
    and the magnitude there becomes negative.
    """
    x, weights = x.reshape(*x.shape[:-1], -1, 8), weights.reshape(*x.shape[:-1], -1, 8)
    is_negative = ~(x >= 0)
    if even:
        cost = weights * x * x
        cheapest = np.zeros(cost.shape[:-1], np.int64)
        least = cost[..., 0]
        for j in range(1, 8):
            is_less = cost[..., j] < least
            least = np.where(is_less, cost[..., j], least)
            cheapest = np.where(is_less, j, cheapest)
        is_odd = is_negative.sum(axis=-1) % 2 == 1
        is_changed = is_odd[..., None] & (np.arange(8) == cheapest[..., None])
        is_negative ^= is_changed
    magnitudes = np.where(is_negative, -x, x)
    signs = np.packbits(is_negative, axis=-1, bitorder="little")[..., 0]
    return magnitudes.reshape(*x.shape[:-2], -1), signs


def even_signs(signs: U8) -> U8:
    """Bytes of signs from their low 7 bits: the eighth makes the number even."""
    low = signs & np.uint8(127)
    bits = np.unpackbits(low[..., None], axis=-1)
    return low | low_byte(bits.sum(axis=-1) % 2 << 7)


def signs_of(signs: U8) -> F32:
    """Bytes of signs [..., n] -> +1 and -1 [..., 8n]."""
    bits = np.unpackbits(signs, axis=-1, bitorder="little")
    return np.where(bits == 1, np.float32(-1), np.float32(1))


def odd_scale_codes(scales: F32, top: int) -> tuple[F32, I32]:
    """A step that the scales of a block share, and codes c for (2c + 1) steps.

    `top` is the largest 2c + 1.
    """
    largest = np.zeros(len(scales), np.float32)
    for j in range(scales.shape[-1]):
        largest = np.where(largest > scales[:, j], largest, scales[:, j])
    step = largest / np.float32(top)
    inverse = np.float32(1) / step
    codes = nearest_int(np.float32(0.5) * (inverse[:, None] * scales - np.float32(1)))
    return step, np.clip(codes, 0, top // 2)


def half_odd_scales(d_bits: U8, codes: I32, unit: float) -> F32:
    """The scales d * (code + 1/2) * unit of codes [n, groups]."""
    halves = np.float32(0.5) + codes.astype(np.float32)
    return value_of_f16(d_bits)[:, None] * halves * np.float32(unit)


def fit_on_grid(x: F32, weights: F32, book: Codebook, search: GridSearch) -> Fit:
    """Scales, points and signs of groups [..., n] of weights.

    A scale is NaN where errors overflow; llama.cpp stops the process there.
    """
    magnitudes, signs = split_signs(x, weights, search.even)
    roots = np.sqrt(weights)
    peak = magnitudes[..., 0]
    for j in range(1, x.shape[-1]):
        peak = np.where(peak > magnitudes[..., j], peak, magnitudes[..., j])
    is_empty = (peak < np.float32(search.least)) | (peak == 0)
    top = 2 * book.n_levels - 1

    def on_grid(inverse: F32, scale: F32) -> tuple[I32, NDArray[np.bool_]]:
        scaled = inverse[..., None] * magnitudes - np.float32(1)
        levels = np.clip(nearest_int(np.float32(0.5) * scaled), 0, book.n_levels - 1)
        points, is_point = book.nearest(
            levels.reshape(-1, book.size),
            magnitudes.reshape(-1, book.size),
            roots.reshape(-1, book.size),
            np.repeat(scale.reshape(-1), x.shape[-1] // book.size),
            np.arange(1, top + 1, 2).astype(np.float32),
        )
        shape = (*x.shape[:-1], -1)
        return points.reshape(shape), is_point.reshape(shape)

    def sums(points: I32) -> tuple[F32, F32]:
        level = 2 * book.levels[points].reshape(x.shape).astype(np.float32) + 1
        cross = ordered_sum(weights * magnitudes * level)
        return cross, ordered_sum(weights * level * level)

    scale = peak / np.float32(top)
    if search.from_fit:
        scale, _ = fit_positive(magnitudes, book.n_levels + 1, weights)
        peak = scale * np.float32(book.n_levels)
        is_empty |= ~(peak > 0)
    best = np.zeros_like(scale)
    points = np.zeros((*x.shape[:-1], x.shape[-1] // book.size), np.int32)
    is_point = np.full(points.shape, search.refit == "off")
    for i in range(-search.n_steps, search.n_steps + 1):
        inverse = nudged(top, search.step, i) / peak
        trial, trial_is_point = on_grid(inverse, np.float32(1) / inverse)
        cross, square = sums(trial)
        better = (square > 0) & (cross * cross > best * square)
        scale = np.where(better, cross / square, scale)
        best = np.where(better, scale * cross, best)
        points = np.where(better[..., None], trial, points)
        is_point = np.where(better[..., None], trial_is_point, is_point)

    fresh, _ = on_grid(np.float32(1) / scale, scale)
    is_refit = (scale > 0) & ((search.refit == "all") | ~is_point.all(axis=-1))
    is_kept = is_point if search.refit == "off" else np.zeros_like(is_point)
    points = np.where(is_refit[..., None] & ~is_kept, fresh, points)
    cross, square = sums(points)
    scale = np.where(is_refit & (square > 0), cross / square, scale)

    signs = np.where((scale < 0)[..., None], ~signs, signs)
    scale = np.where(scale < 0, -scale, scale)
    return Fit(
        np.where(is_empty, np.float32(0), scale),
        np.where(is_empty[..., None], 0, points),
        np.where(is_empty[..., None], 0, signs).astype(np.uint8),
        is_empty,
    )
