"""Sizes that know which metadata keys they follow from."""

from __future__ import annotations

__all__ = ["Size"]


class Size(int):
    """A size for the shapes of tensors; products and sums keep the keys.

    Attributes:
        follows: the metadata keys that the size follows from.
    """

    follows: tuple[str, ...]

    def __new__(cls, value: int, *follows: str) -> Size:
        """The size `value`, which follows from these keys."""
        size = super().__new__(cls, value)
        size.follows = follows
        return size

    def __mul__(self, other: int, /) -> Size:
        return self._with(int(self) * int(other), other)

    def __rmul__(self, other: int, /) -> Size:
        return self * other

    def __add__(self, other: int, /) -> Size:
        return self._with(int(self) + int(other), other)

    def __sub__(self, other: int, /) -> Size:
        return self._with(int(self) - int(other), other)

    def __floordiv__(self, other: int, /) -> Size:
        return self._with(int(self) // int(other), other)

    def _with(self, value: int, other: int) -> Size:
        more = other.follows if isinstance(other, Size) else ()
        return Size(value, *dict.fromkeys((*self.follows, *more)))
