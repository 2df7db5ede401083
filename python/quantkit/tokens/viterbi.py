"""Unigram tokenization as in llama.cpp: the split with the highest sum of scores.

Source: the behaviour of llama.cpp's tokenizer for `t5` vocabularies (llama-vocab.cpp).
Byte tokens are not used; a run of characters without a token becomes one unknown token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from .cutting import Cutter
from .lexicon import Lexicon

__all__ = ["UnigramSplitter"]

UNKNOWN_PENALTY = 10.0


class UnigramSplitter:
    """Split text into the tokens of a unigram vocabulary.

    Args:
        scores: log probabilities of the usable tokens, by token id.
        ids: token ids by text; spaces are escaped as "▁".
        lowest: the lowest score of a normal token.
        unknown: the id of the unknown token.
    """

    def __init__(
        self,
        scores: Mapping[int, float],
        ids: Mapping[str, int],
        lowest: float,
        unknown: int,
    ) -> None:
        self._ids = ids
        self._scores = scores
        self._unknown = unknown
        self._unknown_score = float(np.float32(lowest) - np.float32(UNKNOWN_PENALTY))
        self._lexicon = Lexicon(ids)
        self._cutter = Cutter(ids)

    def encode(self, text: str) -> Iterator[list[int]]:
        """The token ids of a normalized text, in pieces.

        A run of characters without a token becomes one unknown token.
        """
        before = None
        for ids in self._cutter.encode(text, self._split):
            pairs = pairwise([before, *ids])
            yield [i for last, i in pairs if i is not None and self._counts(last, i)]
            before = ids[-1] if ids else before

    def _counts(self, last: int | None, i: int) -> bool:
        return i != self._unknown or last != i

    def _split(self, word: str) -> list[int]:
        # For each prefix: its best sum, and the start and id of the last token.
        best: list[tuple[float, int, int]] = [(0.0, 0, self._unknown)]
        best += [(-np.inf, 0, self._unknown)] * len(word)
        for start, character in enumerate(word):
            base = best[start][0]
            for size in (1, *self._lexicon.lengths(word, start)):
                stop = start + size
                if stop > len(word):
                    break
                i = self._ids.get(word[start:stop])
                if i is not None and base + self._scores[i] > best[stop][0]:
                    best[stop] = base + self._scores[i], start, i
            if character not in self._ids:
                total = base + self._unknown_score
                if total > best[start + 1][0]:
                    best[start + 1] = total, start, self._unknown
        return self._walk_back(best)

    @staticmethod
    def _walk_back(best: list[tuple[float, int, int]]) -> list[int]:
        ids = []
        stop = len(best) - 1
        while stop > 0:
            _, stop, i = best[stop]
            ids.append(i)
        return ids[::-1]
