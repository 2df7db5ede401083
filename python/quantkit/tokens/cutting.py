"""Cut text where no token can span, so that repeated words are split only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

__all__ = ["MAX_WORD", "SPACES", "Cutter", "refuse_long_word", "split_once"]

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""White space, as llama.cpp knows it."""
# Separates joined tokens; a noncharacter, so no text contains it.
BOUNDARY = "\U0010ffff"
BLOCK = 1 << 16
"""Characters that are processed at a time."""
MAX_WORD = 1 << 20
"""The longest part, in characters, that is split as a whole; it takes up to 0.8 GB."""
MAX_KNOWN = 1 << 16
"""The number of words whose tokens are kept."""
MAX_KNOWN_WORD = 256
"""The longest of them, in characters."""


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
        """The token ids of each part in turn, as `split` returns them.

        Raises:
            OptionError: a part is longer than `MAX_WORD`.
        """
        return split_once(self.words(text), split)

    def words(self, text: str) -> Iterator[str]:
        """The parts of the text.

        Raises:
            OptionError: a part is longer than `MAX_WORD`.
        """
        for start, stop in pairwise(chain([0], self._cuts(text), [len(text)])):
            if stop - start > MAX_WORD:
                refuse_long_word(text[start : start + 32])
            yield text[start:stop]

    def _cuts(self, text: str) -> Iterator[int]:
        """The positions to cut at, found block by block to save memory."""
        for start in range(0, len(text), BLOCK):
            pairs = _neighbours(text[start : start + BLOCK + 1])
            joined = np.isin(pairs, self._joints)
            yield from (np.flatnonzero(~joined) + (start + 1)).tolist()


def split_once(
    words: Iterable[str], split: Callable[[str], list[int]]
) -> Iterator[list[int]]:
    """The token ids of each word, as `split` returns them.

    Those of the last words are kept, so that most repeated words are split once.
    """
    known: dict[str, list[int]] = {}
    for word in words:
        ids = known.get(word)
        if ids is None:
            ids = split(word)
            if len(known) == MAX_KNOWN:
                known.clear()
            if len(word) <= MAX_KNOWN_WORD:
                known[word] = ids
        yield ids


def refuse_long_word(start: str) -> None:
    """Refuse a text with a part that is too long to be split as a whole.

    Args:
        start: the first characters of the part.

    Raises:
        OptionError: always.
    """
    raise OptionError(
        f"the text has more than {MAX_WORD:,} characters without a place to split "
        f"them, from {start!r} on; use a text of words, or add spaces or line ends"
    )


def _neighbours(text: str) -> NDArray[np.uint64]:
    """A number for every pair of neighbouring characters: uint64 [len(text) - 1]."""
    raw = text.encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(raw, dtype="<u4").astype(np.uint64)
    pairs: NDArray[np.uint64] = characters[:-1] << np.uint64(32) | characters[1:]
    return pairs
