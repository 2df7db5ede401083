"""f32 numbers as f16 numbers and a power of two, so that none is too large for f16."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._device import Card

__all__ = ["are_plain", "halved"]

Array = Any
"""An array on the device."""

EXPONENT = 0x7F800000
"""The bits of an f32 number's exponent."""
HIGHEST = np.float32(2.0**15)
"""The power of two below the largest number after scaling; f16 ends at 65504."""
LEAST = np.float32(2.0**-12)
"""Where the largest number is less, f16 holds it with fewer digits."""
TINY, HUGE = np.float32(2.0**-100), np.float32(2.0**127)
"""Limits of the power of two that numbers are divided by."""


def halved(x: Array, card: Card, *, kept: bool = False) -> tuple[Array, Array]:
    """x f32 [n, cols] as f16 [n, cols] times a factor f32 [1], a power of two.

    The largest numbers become 2^15 or more, so others are below f16's normal numbers,
    and lose digits, only if they are 2^29 times as small.

    Args:
        x: not empty.
        card: the device.
        kept: leave numbers as they are, with a factor of 1, if f16 has the digits of
            the largest one.
    """
    power = _power_of(np.maximum(x.max(), -x.min()).reshape(1))
    scale = HIGHEST / np.minimum(np.maximum(power, TINY), HUGE)
    if kept:
        scale = np.where(_is_plain(power), np.float32(1), scale)
    half = card.empty(x.shape, np.float16)
    np.multiply(x, scale, out=half)
    return half, 1 / scale


def are_plain(x: Array) -> Array:
    """Whether `kept` leaves any rows of x [n, cols] as they are: bool [1]."""
    largest = np.maximum(x.max(axis=1), -x.min(axis=1))
    return (_is_plain(_power_of(largest)) | (largest == 0)).all().reshape(1)


def _is_plain(power: Array) -> Array:
    return (power >= LEAST) & (power < 2 * HIGHEST)


def _power_of(x: Array) -> Array:
    """The largest powers of two that are not above numbers x >= 0.

    Infinite if x is not finite, and 0 below f32's normal numbers.
    """
    return (x.view(np.int32) & np.int32(EXPONENT)).view(np.float32)
