"""Float to integer as C does it on x86-64, and sums in order.

Three roundings occur in GGUF's types: toward zero, half away from zero, and half to
even by adding 1.5 * 2**23.  Out of range each has its own answer, kept here bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "F32",
    "I32",
    "U8",
    "bits_of_f16",
    "blocks_of",
    "first_peak",
    "low_byte",
    "nearest_int",
    "ordered_sum",
    "reciprocal",
    "round_away",
    "truncate",
    "value_of_f16",
]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

_INT_MIN = np.int32(-(2**31))


def truncate(x: F32) -> I32:
    """Toward zero; anything that an int32 cannot hold, NaN too, is INT_MIN."""
    fits = np.abs(x) < np.float32(2**31)
    return np.where(fits, np.where(fits, x, 0).astype(np.int32), _INT_MIN)


def round_away(x: F32) -> F32:
    """To the nearest integer, halves away from zero."""
    whole = np.trunc(x)
    half_or_more = np.abs(x - whole) >= np.float32(0.5)
    return np.where(half_or_more, whole + np.copysign(np.float32(1), x), whole)


def nearest_int(x: F32) -> I32:
    """To the nearest integer, halves to even, for |x| < 2**22; larger values wrap."""
    bits = (x + 12582912).view(np.int32)
    return (bits & 0x7FFFFF) - 0x400000


def low_byte(x: NDArray[Any]) -> U8:
    """The low 8 bits of an integer."""
    return (x & 0xFF).astype(np.uint8)


def ordered_sum(terms: F32) -> F32:
    """The sum over the last axis, first term first, starting at 0."""
    total = np.zeros(terms.shape[:-1], np.float32)
    for j in range(terms.shape[-1]):
        total = total + terms[..., j]
    return total


def first_peak(x: F32) -> F32:
    """Over the last axis, the first of the values that are farthest from 0."""
    peak = np.zeros(x.shape[:-1], np.float32)
    for j in range(x.shape[-1]):
        peak = np.where(np.abs(x[..., j]) > np.abs(peak), x[..., j], peak)
    return peak


def reciprocal(x: F32) -> F32:
    """1/x, and 0 for 0."""
    inverse: F32 = np.where(x == 0, np.float32(0), np.float32(1) / x)
    return inverse


def bits_of_f16(x: F32) -> U8:
    """As half precision, 2 bytes on a new last axis."""
    bits: U8 = x.astype("<f2")[..., None].view(np.uint8)
    return bits


def value_of_f16(bits: U8) -> F32:
    """The value of the half precision number in the 2 bytes of the last axis."""
    values: F32 = np.ascontiguousarray(bits).view("<f2")[..., 0].astype(np.float32)
    return values


def blocks_of(x: F32, size: int) -> F32:
    """[rows, cols] -> [blocks, size]."""
    return x.reshape(-1, size)
