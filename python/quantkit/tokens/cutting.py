"""Text cut where no token can span: most words are looked up, not split again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutter"]

# Stands between tokens where they must not count as neighbours; it is no character.
BOUNDARY = "\U0010ffff"
BLOCK = 1 << 16
"""Characters that are looked at together."""


class Cutter:
    """Cuts text between any two neighbouring characters that are so in no token.

    Args:
        tokens: the texts of all tokens that a text may be split into.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._joints = np.unique(_neighbours(BOUNDARY.join(tokens)))

    def encode(
        self, text: str, split: Callable[[str], list[int]]
    ) -> Iterator[list[int]]:
        """The token ids of each part in turn, which `split` finds."""
        known: dict[str, list[int]] = {}
        for start, stop in pairwise(chain([0], self._cuts(text), [len(text)])):
            word = text[start:stop]
            if word not in known:
                known[word] = split(word)
            yield known[word]

    def _cuts(self, text: str) -> Iterator[int]:
        """Where to cut, found in as much of the text at a time as is cheap to hold."""
        for start in range(0, len(text), BLOCK):
            pairs = _neighbours(text[start : start + BLOCK + 1])
            joined = np.isin(pairs, self._joints)
            yield from (np.flatnonzero(~joined) + (start + 1)).tolist()


def _neighbours(text: str) -> NDArray[np.uint64]:
    """A number for every two characters in a row: uint64 [len(text) - 1]."""
    raw = text.encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(raw, dtype="<u4").astype(np.uint64)
    pairs: NDArray[np.uint64] = characters[:-1] << np.uint64(32) | characters[1:]
    return pairs
