"""What pieces of work share and is too large to go with them: opened where they run.

In the process that hands out the work the object is at hand.  A pickled piece carries
how it is opened instead, and another process opens it once, when its first piece needs
it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import RLock
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ..errors import QuantkitError

__all__ = ["Opener", "Shared", "opened"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Opener(Hashable, Protocol[T_co]):
    """How to open an object; can be pickled, and is equal to its copies.

    Attributes:
        kept: how many objects of this kind a process keeps open.
    """

    kept: ClassVar[int]

    def open(self) -> T_co:
        """The object, opened anew."""


class Shared(Generic[T]):
    """An object that is at hand here, and is opened again in other processes.

    Args:
        opener: how others open it; None: they cannot.
        value: the object; None: it is opened when it is asked for.

    Attributes:
        opener: as given.
    """

    def __init__(self, opener: Opener[T] | None, value: T | None = None) -> None:
        self.opener = opener
        self._value = value

    @property
    def value(self) -> T:
        """The object."""
        if self._value is None:
            assert self.opener is not None  # or the object was given
            self._value = opened(self.opener)
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        if self.opener is None:
            raise QuantkitError(
                f"a {type(self._value).__name__} that is not read from files cannot "
                "be opened by another process; use threads of this one"
            )
        return Shared, (self.opener,)


_lock = RLock()
_open: dict[type, OrderedDict[Hashable, Any]] = {}


def opened(opener: Opener[T]) -> T:
    """What an opener opens, from this process's own if it is open already."""
    with _lock:
        own = _open.setdefault(type(opener), OrderedDict())
        if opener not in own:
            while len(own) >= opener.kept:
                own.popitem(last=False)
            own[opener] = opener.open()
        own.move_to_end(opener)
        found: T = own[opener]
        return found
