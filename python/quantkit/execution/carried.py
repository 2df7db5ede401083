"""Large values that work items share, and that no file has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

__all__ = ["Carried"]

T = TypeVar("T")


class Carried(Generic[T]):
    """A value that a worker of a cluster gets once, however many items have it.

    It is an opener (see `opened`) whose object travels with it.  Threads share the
    value itself.

    Args:
        value: the value; None: `read` gives it.
        read: gives it when it is needed, so that it is not kept in memory.
    """

    kept: ClassVar[int] = 1

    def __init__(
        self, value: T | None = None, read: Callable[[], T] | None = None
    ) -> None:
        self._value = value
        self._read = read

    @property
    def value(self) -> T:
        """The value."""
        if self._value is not None:
            return self._value
        assert self._read is not None  # `value` or `read` is always given
        return self._read()

    def open(self) -> T:
        """See `value`."""
        return self.value

    def __reduce__(self) -> tuple[Any, ...]:
        return Carried, (self.value,)
