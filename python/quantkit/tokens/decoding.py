"""From token ids back to text.

Source: the behaviour of llama.cpp's token_to_piece (llama-vocab.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from ..settings import FLAG, TEXT
from .longest_match import bytes_of
from .metadata import Vocabulary
from .pre_table import pre_tokenizer_named
from .token_type import TokenType

__all__ = ["Decoder"]

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What stands for a space in vocabularies of SentencePiece."""

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""A token that is a byte."""


class Decoder:
    """The bytes of tokens.

    Args:
        vocabulary: the tokens.
        control: the ids of control tokens.
    """

    def __init__(self, vocabulary: Vocabulary, control: Iterable[int]) -> None:
        self._texts = vocabulary.texts
        self._kind = vocabulary.get("model", TEXT)
        self._is_byte_level = self._kind == "gpt2" and bool(
            pre_tokenizer_named(vocabulary.get("pre", TEXT, "default")).letters
        )
        self._control = frozenset(control)
        self._bytes = frozenset(vocabulary.of_types(TokenType.BYTE))
        self._verbatim = frozenset(vocabulary.of_types(TokenType.USER_DEFINED))
        self._unused = frozenset(vocabulary.of_types(TokenType.UNUSED))
        self._drops_space = _starts_with_space(vocabulary, self._kind)

    def decode(self, ids: Iterable[int], special: bool) -> bytes:
        """The bytes of tokens, without the space that `encode` puts before a text.

        Args:
            ids: the tokens.
            special: also the texts of control tokens.
        """
        pieces, is_start = [], self._drops_space
        for i in ids:
            is_control = i in self._control
            if is_control and not special:
                continue
            piece = self.piece(i)
            if is_start and not is_control:
                piece, is_start = piece.removeprefix(b" "), False
            pieces.append(piece)
        return b"".join(pieces)

    def piece(self, i: int) -> bytes:
        """The bytes that a token stands for; none for one that is not in use."""
        text = "" if i in self._unused else self._texts[i]
        if self._kind == "rwkv":
            return bytes_of(text)
        found = BYTE.fullmatch(text) if i in self._bytes else None
        if found:
            return bytes([int(found[1], 16)])
        if i in self._control or i in self._verbatim or self._kind == "plamo2":
            return _utf8(text)
        if self._is_byte_level:
            letters = byte_letters()
            return b"".join(letters.get(letter) or _utf8(letter) for letter in text)
        return _utf8(text.replace(SPACE, " "))


def _starts_with_space(vocabulary: Vocabulary, kind: str) -> bool:
    """Whether a text gets a space in front when it is encoded."""
    if kind == "t5" and vocabulary.get("remove_extra_whitespaces", FLAG, False):
        return True
    if kind in ("llama", "t5"):
        adds: bool = vocabulary.get("add_space_prefix", FLAG, kind == "llama")
        return adds
    return kind == "bert"  # whose words start with one


def _utf8(text: str) -> bytes:
    """The text as bytes; a lone surrogate stands for a byte that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


@cache
def byte_letters() -> dict[str, bytes]:
    """The byte of each letter of GPT-2's vocabularies.

    Printable characters of Latin-1 stand for themselves, other bytes are letters from
    U+0100 on: bytes_to_unicode in its encoder.py,
    https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    own = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in own)
    letters = {chr(byte): bytes([byte]) for byte in own}
    return letters | {chr(256 + n): bytes([byte]) for n, byte in enumerate(others)}
