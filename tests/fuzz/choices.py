"""Decisions taken from bytes, so that a fuzzer that changes the bytes changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Choices"]

T = TypeVar("T")


class Choices:
    """Reads decisions from bytes; when they are used up, every decision is the first.

    Args:
        data: the fuzzer's bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_left(self) -> bool:
        """Whether there are bytes for another decision."""
        return self._at < len(self._data)

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        size = 1 if n <= 256 else 2
        raw = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(raw, "little") % n

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, of which there is at least one."""
        return options[self.below(len(options))]

    def rest(self) -> bytes:
        """The bytes that are left."""
        start, self._at = self._at, len(self._data)
        return self._data[start:]
