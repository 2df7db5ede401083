"""Several sequences of one length in a pass: their rows, one sequence after the other.

What works on each position by itself need not know it.  What mixes positions, or
depends on their numbers, asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "beside_each_other",
    "by_sequence",
    "in_sequences",
    "in_turn",
    "keys_up_to_own",
    "length_of",
    "n_sequences",
    "positions_of",
]

Array = NDArray[Any]

_count: ContextVar[int] = ContextVar("_count", default=1)


@contextmanager
def in_sequences(count: int) -> Iterator[None]:
    """Rows are those of so many sequences, in this thread; otherwise of one."""
    token = _count.set(count)
    try:
        yield
    finally:
        _count.reset(token)


def n_sequences() -> int:
    """The number of sequences in the pass."""
    return _count.get()


def length_of(x: Array) -> int:
    """The number of positions of each sequence whose rows x [rows, ...] has."""
    return len(x) // _count.get()


def positions_of(x: Array) -> NDArray[np.int64]:
    """The position of each row in its sequence: [rows], beside x."""
    positions = np.arange(len(x), like=x)
    return positions if _count.get() == 1 else positions % length_of(x)


def keys_up_to_own(x: Array) -> NDArray[np.bool_]:
    """Which keys of its sequence a query sees without a mask: [rows, n], beside x."""
    seen: NDArray[np.bool_]
    seen = np.arange(length_of(x), like=x) <= positions_of(x)[:, None]
    return seen


def by_sequence(function: Callable[..., Array], *arrays: Array) -> Array:
    """What a function makes of each sequence, one after the other.

    Args:
        function: of the rows of one sequence: [n, ...] of each array -> [n, ...].
        arrays: [rows, ...]; they may have different numbers of rows of a sequence.
    """
    if _count.get() == 1:
        return function(*arrays)
    count = _count.get()
    with in_sequences(1):
        made = [function(*(_part(x, i, count) for x in arrays)) for i in range(count)]
    return np.concatenate(made)


def _part(x: Array, number: int, count: int) -> Array:
    n = len(x) // count
    return x[number * n : (number + 1) * n]


def beside_each_other(x: Array) -> Array:
    """x [rows, heads, ...] as the heads of one sequence: [n, sequences * heads, ...].

    So what works on each head by itself works on all sequences at once.
    """
    count = _count.get()
    if count == 1:
        return x
    n = length_of(x)
    apart: Array = x.reshape(count, n, *x.shape[1:]).swapaxes(0, 1)
    return apart.reshape(n, count * x.shape[1], *x.shape[2:])


def in_turn(x: Array) -> Array:
    """The reverse of `beside_each_other`."""
    count = _count.get()
    if count == 1:
        return x
    n, heads = len(x), x.shape[1] // count
    apart: Array = x.reshape(n, count, heads, *x.shape[2:]).swapaxes(0, 1)
    return apart.reshape(count * n, heads, *x.shape[2:])
