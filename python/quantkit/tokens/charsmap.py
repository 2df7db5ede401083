"""SentencePiece's compiled normalization, which replaces character sequences.

Source: the format of `precompiled_charsmap`: a double-array trie of UTF-8 keys
(darts-clone), followed by the replacement texts that its leaves point to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .lexicon import Lexicon

__all__ = ["CharacterMap"]

_DAMAGED = "tokenizer.ggml.precompiled_charsmap is damaged; download the file again"
MAX_BYTES = 1 << 22
"""The largest map that is read; real ones have 0.3 MB."""
MAX_UNITS = 1 << 20
"""The largest number of bytes of all sequences, equal starts counted once."""
MAX_KEY = 256
"""Bytes of the longest sequence and of the longest replacement; real ones have 40."""
MAX_GROWTH = 32
"""How many times as long a text may become; one character becomes up to 18."""


class CharacterMap:
    """Replace the longest known character sequence, from left to right.

    Args:
        compiled: `precompiled_charsmap`.

    Raises:
        FormatError: it is damaged.
    """

    def __init__(self, compiled: bytes) -> None:
        if len(compiled) > MAX_BYTES:
            raise FormatError(
                f"tokenizer.ggml.precompiled_charsmap has {len(compiled):,} bytes; "
                f"expected at most {MAX_BYTES:,}"
            )
        try:
            self._replacements = dict(_read(compiled))
        except (IndexError, ValueError) as error:
            raise FormatError(_DAMAGED) from error
        longer = [key for key in self._replacements if len(key) > 1]
        self._lexicon = Lexicon(longer)
        singles = _class("".join(k for k in self._replacements if len(k) == 1))
        inner = _class("".join({c for key in longer for c in key[1:]}))
        # Every place where a replacement may start, with the text it may cover.
        self._places = re.compile(f".{inner}+|{singles}", re.DOTALL)

    def normalize(self, text: str) -> str:
        """The text after all replacements.

        Raises:
            FormatError: it becomes so long that the map must be damaged.
        """
        left = MAX_GROWTH * (len(text) + 1)

        def replace(match: re.Match[str]) -> str:
            nonlocal left
            new = self._replace(match[0])
            left -= len(new)
            if left < 0:
                raise FormatError(_DAMAGED)
            return new

        return self._places.sub(replace, text)

    def _replace(self, text: str) -> str:
        parts = []
        at = 0
        while at < len(text):
            for size in (*reversed(self._lexicon.lengths(text, at)), 1):
                new = self._replacements.get(text[at : at + size])
                if new is not None and at + size <= len(text):
                    break
            else:
                size, new = 1, text[at]
            parts.append(new)
            at += size
        return "".join(parts)


def _class(characters: str) -> str:
    """A regular expression that matches one of `characters`, which may be empty."""
    return f"[{re.escape(characters)}]" if characters else r"(?!)"


def _read(compiled: bytes) -> Iterator[tuple[str, str]]:
    """The character sequences in the trie and their replacements."""
    size = int.from_bytes(compiled[:4], "little")
    if size % 4 or len(compiled) <= 4 + size:
        raise ValueError
    units = np.frombuffer(compiled[4 : 4 + size], dtype="<u4")
    texts = compiled[4 + size :]
    for key, place in _walk(units):
        end = texts.index(b"\0", place, place + MAX_KEY + 1)
        yield key.decode(), texts[place:end].decode()


def _walk(units: NDArray[np.uint32]) -> Iterator[tuple[bytes, int]]:
    """Every key of a double-array trie with its value.

    The child of a unit for a byte is at the unit's offset XOR that byte.  It stores the
    byte as its label.  Equal branches are stored once, with several parents, so a
    damaged array can have endless keys, or very many.
    """
    letters = np.arange(1, 256, dtype=np.int64)
    n_visited = 0
    pending = [(b"", _offset(int(units[0])))]
    while pending:
        key, node = pending.pop()
        places = node ^ letters
        places = places[places < len(units)]
        labels = units[places] & np.uint32(0x800000FF)
        for place in places[labels == (places ^ node)].tolist():
            n_visited += 1
            unit = int(units[place])
            inner = key + bytes([place ^ node])
            if len(inner) > MAX_KEY or n_visited > MAX_UNITS:
                raise ValueError
            below = place ^ _offset(unit)
            if unit >> 8 & 1:
                yield inner, int(units[below]) & 0x7FFFFFFF
            pending.append((inner, below))


def _offset(unit: int) -> int:
    """The offset of a unit's children, relative to the unit (XOR)."""
    return (unit >> 10) << ((unit & 1 << 9) >> 6)
