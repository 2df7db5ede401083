"""Sums of f32 numbers in the order of torch, so that they have its bits.

torch adds in f32, on several levels, so the order matters.  This is its order on x86
processors for 8 to 32767 numbers, and with one thread for more.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["cascade_sum"]

F32 = NDArray[np.float32]
LANES = 8
"""Sums side by side: a vector of AVX2, which torch uses on AVX-512 processors, too."""
VECTORS = 4
"""Vectors side by side."""
LEVELS = 4
WIDTH = LANES * VECTORS


def cascade_sum(pieces: Iterable[F32], n: int) -> np.float32:
    """The sum of n numbers: f32.

    Args:
        pieces: the numbers in order, as vectors of any length.
        n: how many they are.

    Source of the order: torch 2.13, aten/src/ATen/native/cpu/SumKernel.cpp.
    """
    n_steps = n // WIDTH
    step = 1 << max(4, (n_steps - 1).bit_length() // LEVELS if n_steps > 1 else 0)
    firsts, rest = _chunk_sums(pieces, step)
    n_rows = len(rest) // WIDTH
    rows = rest[: n_rows * WIDTH].reshape(n_rows, WIDTH)
    levels = [_in_order(rows[None])[0]]
    for _ in range(LEVELS - 2):
        n_groups = len(firsts) // step
        levels.append(_in_order(firsts[None, n_groups * step :])[0])
        firsts = _in_order(firsts[: n_groups * step].reshape(n_groups, step, WIDTH))
    levels.append(_in_order(firsts[None])[0])
    vectors = _in_order(np.stack(levels)[None])[0].reshape(VECTORS, LANES)
    tail = rest[n_rows * WIDTH :]
    n_vectors = len(tail) // LANES
    more = tail[: n_vectors * LANES].reshape(n_vectors, LANES)
    first = _in_order(np.concatenate([vectors[:1], more])[None])[0]
    lanes = _in_order(np.concatenate([first[None], vectors[1:]])[None])[0]
    last = np.concatenate([tail[n_vectors * LANES :], lanes])
    total: np.float32 = _in_order(last[None, :, None])[0, 0]
    return total


def _chunk_sums(pieces: Iterable[F32], step: int) -> tuple[F32, F32]:
    """The sums of whole chunks [chunks, WIDTH], and the numbers that are left over.

    A chunk is `step` rows of WIDTH numbers.
    """
    size = step * WIDTH
    sums, rest = [np.zeros((0, WIDTH), np.float32)], np.zeros(0, np.float32)
    for piece in pieces:
        rest = np.concatenate([rest, piece.ravel()])
        n_chunks = len(rest) // size
        chunks = rest[: n_chunks * size].reshape(n_chunks, step, WIDTH)
        sums.append(_in_order(chunks))
        rest = rest[n_chunks * size :]
    return np.concatenate(sums), rest


def _in_order(x: F32) -> F32:
    """The sums over the second axis of x [n, terms, width], one term after another."""
    total: F32 = np.zeros((x.shape[0], x.shape[2]), np.float32)
    for term in range(x.shape[1]):
        total += x[:, term]
    return total
