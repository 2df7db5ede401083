"""Sums of f64 numbers without any rounding, so that their order does not matter.

A sum is kept as several f64 numbers that together are exactly the sum.  Adding a number
adds it to the first of them, and what is rounded away there to the second, and so on.
What is rounded away by an addition is itself an f64 number.

Source: Knuth, The Art of Computer Programming 2, 4.2.2, theorem B; Shewchuk, Adaptive
Precision Floating-Point Arithmetic (1997); `math.fsum` has the rounding of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..importance.sums import F64

__all__ = ["add", "rounded"]


def add(terms: list[F64], x: F64, where: Any = ...) -> None:
    """Add numbers to some of the sums.

    Args:
        terms: arrays of one shape, which together are the sums; another one is appended
            if these cannot hold them.
        x: f64, finite; of the shape of the chosen sums.
        where: an index that chooses sums.
    """
    for term in terms:
        term[where], x = _two_sum(term[where], x)
        if not x.any():
            return
    more = np.zeros_like(terms[0])
    more[where] = x
    terms.append(more)


def rounded(terms: Sequence[F64]) -> F64:
    """The sums, each rounded once, half to even."""
    own = [term.copy() for term in terms]
    is_settled = False
    while not is_settled:
        is_settled = True
        for i in reversed(range(len(own) - 1)):
            total, rest = _two_sum(own[i], own[i + 1])
            is_settled &= np.array_equal(total, own[i])
            own[i], own[i + 1] = total, rest
    found: F64 = own[0]
    if len(own) > 2:  # half a unit is left, and more: then half to even was wrong
        twice = 2 * own[1]
        other = found + twice
        is_more = (own[1] != 0) & (np.sign(own[1]) == np.sign(own[2]))
        found = np.where(is_more & (other - found == twice), other, found)
    return found


def _two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    """The rounded sum, and what was rounded away."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)
