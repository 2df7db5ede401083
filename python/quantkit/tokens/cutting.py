"""Cut text where no token can span, so that repeated words are split only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutter"]

# Separates joined tokens; a noncharacter, so no text contains it.
BOUNDARY = "\U0010ffff"
BLOCK = 1 << 16
"""Characters that are processed at a time."""


class Cutter:
    """Cut text between two characters if no token has them next to each other.

    Args:
        tokens: the texts of all tokens that a text may be split into.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._joints = np.unique(_neighbours(BOUNDARY.join(tokens)))

    def encode(
        self, text: str, split: Callable[[str], list[int]]
    ) -> Iterator[list[int]]:
        """The token ids of each part in turn, as `split` returns them."""
        known: dict[str, list[int]] = {}
        for start, stop in pairwise(chain([0], self._cuts(text), [len(text)])):
            word = text[start:stop]
            if word not in known:
                known[word] = split(word)
            yield known[word]

    def _cuts(self, text: str) -> Iterator[int]:
        """The positions to cut at, found block by block to save memory."""
        for start in range(0, len(text), BLOCK):
            pairs = _neighbours(text[start : start + BLOCK + 1])
            joined = np.isin(pairs, self._joints)
            yield from (np.flatnonzero(~joined) + (start + 1)).tolist()


def _neighbours(text: str) -> NDArray[np.uint64]:
    """A number for every pair of neighbouring characters: uint64 [len(text) - 1]."""
    raw = text.encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(raw, dtype="<u4").astype(np.uint64)
    pairs: NDArray[np.uint64] = characters[:-1] << np.uint64(32) | characters[1:]
    return pairs
