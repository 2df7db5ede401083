"""Unpack small integers from 32-bit words; the first is in the lowest bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORD_BITS", "fields", "words_for"]

WORD_BITS = 32


def words_for(n_fields: int, bits: int) -> int:
    """The number of words for `n_fields` integers of `bits` bits."""
    return -(-n_fields * bits // WORD_BITS)


def fields(
    words: NDArray[np.int32], starts: NDArray[np.integer[Any]], bits: int
) -> NDArray[np.int16]:
    """The integers that start at the given bits of each row.

    An integer may continue in the next word.

    Args:
        words: int32 [rows, words].
        starts: [n], bit positions in a row.
        bits: bits per integer, 1 to 8.

    Returns:
        [rows, n], 0 to 2**bits - 1.
    """
    word, shift = np.divmod(starts, WORD_BITS)
    unsigned = words.view(np.uint32)
    found = unsigned[:, word] >> shift.astype(np.uint32)
    split = shift + bits > WORD_BITS
    if split.any():
        rest = (WORD_BITS - shift[split]).astype(np.uint32)
        found[:, split] |= unsigned[:, word[split] + 1] << rest
    integers: NDArray[np.int16] = (found & np.uint32(2**bits - 1)).astype(np.int16)
    return integers
