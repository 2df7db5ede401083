"""The characters that byte-level BPE uses for the 256 byte values.

Source: GPT-2's table.  A byte that is a printable Latin-1 character maps to that
character; the others map to U+0100, U+0101 and so on, in order.
"""

from __future__ import annotations

__all__ = ["SPACE_LETTER", "to_letters"]

_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_others = iter(range(0x100, 0x200))
_LETTERS = [chr(b if b in _PRINTABLE else next(_others)) for b in range(256)]

SPACE_LETTER = _LETTERS[ord(" ")]


def to_letters(token: bytes) -> str:
    """A token's bytes as characters of byte-level BPE."""
    return "".join(_LETTERS[byte] for byte in token)
