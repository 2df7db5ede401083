"""RWKV's tokenizer: at each place of a text, the longest token that fits.

Tokens are bytes; GGUF has them as Python writes bytes.  Source: the behaviour of
llama.cpp's tokenizer for `rwkv` vocabularies (llama-vocab.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..errors import FormatError
from .lexicon import Lexicon

__all__ = ["LongestMatch", "bytes_of"]

PIECE = 1 << 14
"""How many tokens are given at a time."""
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
LETTERS = {"t": "\t", "n": "\n", "r": "\r"}


class LongestMatch:
    """Split text into the longest tokens, from the start on.

    Args:
        texts: the tokens' texts by id.
        unknown: the token for bytes that no token has; None: there is none.

    Raises:
        FormatError: a token is too long.
    """

    def __init__(self, texts: Sequence[str], unknown: int | None) -> None:
        self._ids = {
            bytes_of(text).decode("latin-1"): i for i, text in enumerate(texts)
        }
        self._lexicon = Lexicon(self._ids)
        self._unknown = unknown

    def encode(self, text: str) -> Iterator[list[int]]:
        """The token ids of a text, in pieces.

        Raises:
            FormatError: no token fits.
        """
        letters, at, ids = text.encode().decode("latin-1"), 0, list[int]()
        while at < len(letters):
            i, length = self._next(letters, at)
            ids.append(i)
            at += length
            if len(ids) == PIECE:
                yield ids
                ids = []
        if ids:
            yield ids

    def _next(self, letters: str, at: int) -> tuple[int, int]:
        """The token at a place, and its length."""
        for length in reversed(self._lexicon.lengths(letters, at)):
            i = self._ids.get(letters[at : at + length])
            if i is not None and at + length <= len(letters):
                return i, length
        i = self._ids.get(letters[at], self._unknown)
        if i is None:
            raise FormatError(
                f"the vocabulary has no token for the byte {ord(letters[at]):#04x}, "
                "nor an unknown token; the file is damaged"
            )
        return i, 1


def bytes_of(text: str) -> bytes:
    """A token's bytes, from how Python writes them."""

    def plain(match: re.Match[str]) -> str:
        if match[1] is not None:
            return chr(int(match[1], 16))
        return LETTERS.get(match[2], match[2])

    bytes_ = text.encode("utf-8", "surrogatepass")
    return ESCAPE.sub(plain, bytes_.decode("latin-1")).encode("latin-1")
