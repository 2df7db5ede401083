"""The letters in which byte-level BPE spells the 256 bytes.

Source: GPT-2's table: a byte that prints as a Latin-1 character is that character, the
others are the characters from U+0100 on, in order.
"""

from __future__ import annotations

__all__ = ["SPACE_LETTER", "to_letters"]

_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_others = iter(range(0x100, 0x200))
_LETTERS = [chr(b if b in _PRINTABLE else next(_others)) for b in range(256)]

SPACE_LETTER = _LETTERS[ord(" ")]


def to_letters(token: bytes) -> str:
    """A token's bytes as byte-level BPE spells them."""
    return "".join(_LETTERS[byte] for byte in token)
