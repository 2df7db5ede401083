"""SentencePiece's BPE as in llama.cpp: the merge with the highest score comes first.

The sentencepiece library is not used because it never merges characters into a control
token, and llama.cpp does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..errors import FormatError
from .cutting import Cutter

__all__ = ["PieceMerger"]


class PieceMerger:
    """Merge characters into the tokens of a SentencePiece vocabulary.

    Args:
        ids: token ids by text; spaces are escaped as "▁".
        scores: scores by token id.
    """

    def __init__(self, ids: Mapping[str, int], scores: Sequence[float]) -> None:
        self._ids = ids
        self._scores = scores
        self._cutter = Cutter(ids)

    def encode(self, text: str) -> Iterator[list[int]]:
        """The token ids of a text with escaped spaces, in pieces."""
        return self._cutter.encode(text, lambda w: list(self._tokens(self._merge(w))))

    def _merge(self, word: str) -> list[str]:
        """The pieces that remain when no two neighbours form a token."""
        pieces = list(word)  # "" if merged into its left neighbour
        before = list(range(-1, len(word) - 1))
        after = list(range(1, len(word) + 1))
        unions: list[tuple[float, int, str]] = []

        def propose(left: int) -> None:
            if left >= 0 and after[left] < len(pieces):
                union = pieces[left] + pieces[after[left]]
                i = self._ids.get(union)
                if i is not None:
                    heapq.heappush(unions, (-self._scores[i], left, union))

        for left in range(len(pieces) - 1):
            propose(left)
        while unions:
            _, left, union = heapq.heappop(unions)
            right = after[left]
            if right == len(pieces) or pieces[left] + pieces[right] != union:
                continue  # one of the two has since been merged with another piece
            pieces[left], pieces[right] = union, ""
            after[left] = after[right]
            if after[right] < len(pieces):
                before[after[right]] = left
            propose(before[left])
            propose(left)
        return [piece for piece in pieces if piece]

    def _tokens(self, pieces: Iterable[str]) -> Iterable[int]:
        """The token of each piece, or the tokens of its bytes."""
        for piece in pieces:
            if piece in self._ids:
                yield self._ids[piece]
                continue
            for byte in piece.encode():
                token = f"<0x{byte:02X}>"
                if token not in self._ids:
                    raise FormatError(
                        f"the vocabulary has no token for {piece!r}, and no byte "
                        f"token {token}"
                    )
                yield self._ids[token]
