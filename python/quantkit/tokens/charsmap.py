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

__all__ = ["CharacterMap"]

_DAMAGED = "tokenizer.ggml.precompiled_charsmap is damaged; download the file again"


class CharacterMap:
    """Replace the longest known character sequence, from left to right.

    Args:
        compiled: `precompiled_charsmap`.

    Raises:
        FormatError: it is damaged.
    """

    def __init__(self, compiled: bytes) -> None:
        try:
            self._replacements = dict(_read(compiled))
        except (IndexError, ValueError) as error:
            raise FormatError(_DAMAGED) from error
        longer = [key for key in self._replacements if len(key) > 1]
        self._longest = max(map(len, longer), default=1)
        singles = _class("".join(k for k in self._replacements if len(k) == 1))
        inner = _class("".join({c for key in longer for c in key[1:]}))
        # Every place where a replacement may start, with the text it may cover.
        self._places = re.compile(f".{inner}+|{singles}", re.DOTALL)

    def normalize(self, text: str) -> str:
        """The text after all replacements."""
        return self._places.sub(lambda match: self._replace(match[0]), text)

    def _replace(self, text: str) -> str:
        parts = []
        at = 0
        while at < len(text):
            for size in range(min(self._longest, len(text) - at), 0, -1):
                new = self._replacements.get(text[at : at + size])
                if new is not None:
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
        end = texts.index(b"\0", place)
        yield key.decode(), texts[place:end].decode()


def _walk(units: NDArray[np.uint32]) -> Iterator[tuple[bytes, int]]:
    """Every key of a double-array trie with its value.

    The child of a unit for a byte is at the unit's offset XOR that byte.  It stores the
    byte as its label.
    """
    letters = np.arange(1, 256, dtype=np.int64)
    seen: set[int] = set()
    pending = [(b"", _offset(int(units[0])))]
    while pending:
        key, node = pending.pop()
        places = node ^ letters
        places = places[places < len(units)]
        labels = units[places] & np.uint32(0x800000FF)
        for place in places[labels == (places ^ node)].tolist():
            if place in seen:
                raise ValueError  # a cycle: each unit of a trie has one parent
            seen.add(place)
            unit = int(units[place])
            inner = key + bytes([place ^ node])
            below = place ^ _offset(unit)
            if unit >> 8 & 1:
                yield inner, int(units[below]) & 0x7FFFFFFF
            pending.append((inner, below))


def _offset(unit: int) -> int:
    """The offset of a unit's children, relative to the unit (XOR)."""
    return (unit >> 10) << ((unit & 1 << 9) >> 6)
