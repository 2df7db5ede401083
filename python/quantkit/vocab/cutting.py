"""Text cut where no token can span: most words are looked up, not split again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutter"]

# Stands between tokens where they must not count as neighbours; it is no character.
BOUNDARY = "\U0010ffff"


class Cutter:
    """Cuts text between any two neighbouring characters that are so in no token.

    Args:
        tokens: the texts of all tokens that a text may be split into.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._joints = np.unique(_neighbours(BOUNDARY.join(tokens)))

    def encode(self, text: str, split: Callable[[str], list[int]]) -> list[int]:
        """The token ids of each part in turn, which `split` finds."""
        joined = np.isin(_neighbours(text), self._joints)
        cuts = [0, *(np.flatnonzero(~joined) + 1).tolist(), len(text)]
        known: dict[str, list[int]] = {}
        ids: list[int] = []
        for start, stop in pairwise(cuts):
            word = text[start:stop]
            if word not in known:
                known[word] = split(word)
            ids += known[word]
        return ids


def _neighbours(text: str) -> NDArray[np.uint64]:
    """A number for every two characters in a row: uint64 [len(text) - 1]."""
    raw = text.encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(raw, dtype="<u4").astype(np.uint64)
    pairs: NDArray[np.uint64] = characters[:-1] << np.uint64(32) | characters[1:]
    return pairs
