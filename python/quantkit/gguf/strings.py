"""A lazily decoded array of strings.

A vocabulary has up to a million strings (tokens and merges).  Most uses of a file never
decode them, and copying needs only their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["StringArray", "decode", "encode"]

LENGTH_BYTES = 8


def decode(raw: bytes) -> str:
    """Decode GGUF bytes to text.

    Bytes that are not UTF-8 become lone surrogates, which `encode` turns back into the
    same bytes: some vocabularies have such tokens, and a copied file must keep them.
    """
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Encode text to GGUF bytes; the inverse of `decode`.

    Raises:
        UnicodeEncodeError: the text has a surrogate that `decode` never produces.
    """
    return text.encode("utf-8", "surrogateescape")


class StringArray(Sequence[str]):
    """Strings in GGUF's encoding, decoded on access.

    Args:
        raw: the strings in sequence, each preceded by its length as a u64.
        ends: int64 [n], the end of each string in `raw`.
    """

    def __init__(self, raw: bytes, ends: NDArray[np.int64]) -> None:
        self.raw = raw
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        positions = range(len(self))[index]
        if isinstance(positions, range):
            return [self[i] for i in positions]
        start = self._ends[positions - 1] if positions else 0
        return decode(self.raw[start + LENGTH_BYTES : self._ends[positions]])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends.tolist():
            yield decode(self.raw[start + LENGTH_BYTES : end])
            start = end

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StringArray):
            return self.raw == other.raw
        if isinstance(other, Sequence):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have no hash

    def __repr__(self) -> str:
        return f"<StringArray of {len(self)} strings>"
