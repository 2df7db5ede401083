"""Large objects that work items share, opened once in each process.

In the process that creates the work items, they refer to the object itself.  A pickled
item carries an opener instead, and another process opens the object when its first item
needs it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from ..errors import QuantkitError

__all__ = ["Opener", "Shared", "open_instead", "opened"]

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)


class Opener(Hashable, Protocol[T_co]):
    """Opens an object; can be pickled, and compares equal to its copies.

    Attributes:
        kept: the maximum number of such objects that a process keeps open.
    """

    @property
    def kept(self) -> int:
        """See above."""

    def open(self) -> T_co:
        """Open the object."""


class Shared(Generic[T]):
    """An object in this process that other processes open again.

    Args:
        opener: opens the object in other processes; None: they cannot open it.
        value: the object; None: open it on first access.

    Attributes:
        opener: as given.
    """

    def __init__(self, opener: Opener[T] | None, value: T | None = None) -> None:
        self.opener = opener
        self._value = value

    @property
    def here(self) -> T | None:
        """The object if this process has it; None: it is not open yet."""
        return self._value

    @property
    def value(self) -> T:
        """The object."""
        if self._value is None:
            assert self.opener is not None  # `value` or `opener` is always given
            self._value = opened(self.opener)
        return self._value

    def taken(self, opener: Opener[U] | None, take: Callable[[T], U]) -> Shared[U]:
        """A part of the object, without a reference to the rest of it.

        Args:
            opener: opens the part in other processes.
            take: gives the part of an object.
        """
        return Shared(opener, None if self.here is None else take(self.here))

    def __reduce__(self) -> tuple[Any, ...]:
        if self.opener is None:
            raise QuantkitError(
                "a model that is not read from files cannot be opened by another "
                "process; use threads instead of processes"
            )
        return Shared, (self.opener,)


_lock = RLock()
_open: dict[type, OrderedDict[Hashable, Any]] = {}
_instead: dict[Hashable, Callable[[], Any]] = {}


def open_instead(opener: Opener[T], open: Callable[[], T]) -> None:
    """Let another function open what an opener opens, in this process."""
    with _lock:
        _instead[opener] = open


def opened(opener: Opener[T]) -> T:
    """The object of an opener, reused if it is already open in this process."""
    with _lock:
        own = _open.setdefault(type(opener), OrderedDict())
        if opener not in own:
            while len(own) >= opener.kept:
                own.popitem(last=False)
            own[opener] = _instead.get(opener, opener.open)()
        own.move_to_end(opener)
        found: T = own[opener]
        return found
