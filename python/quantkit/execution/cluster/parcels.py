"""Pack work for a worker, and unpack it there.

Openers (see `execution.opened`) are packed apart from the work that needs them.  A
piece of work has only their numbers, and a worker unpacks each opener once.  Those that
carry a value (see `execution.carried`) are packed once for all runs of work.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

from ..carried import Carried
from ..opened import Opener

__all__ = ["Carriage", "Packer", "Parcel", "Unpacker"]

KEPT_BYTES = 128 << 20
"""Pickled bytes of the openers that a worker keeps, beside those of its last piece."""


@dataclass(eq=False)
class Parcel:
    """A value for a worker: a function and its items, or an opener.

    Attributes:
        pickled: the value; empty, once it is stored.
        needs: the openers in it, and those in these, by number.
        stored: a reference to the value where a team has put it; None: nowhere yet.
    """

    pickled: bytes
    needs: Mapping[int, Parcel]
    stored: Any = None


Carriage = MutableMapping[Carried[Any], tuple[int, Parcel]]
"""The numbers and parcels of carried values, as long as these are there."""


class Packer:
    """Packs the values of a run of work.

    Args:
        numbers: gives the numbers of openers, which no other packer gives.
        carried: the carried values that were packed before; new ones are added.
    """

    def __init__(self, numbers: Iterator[int], carried: Carriage) -> None:
        self._new_numbers = numbers
        self._carried = carried
        self._numbers: dict[Opener[Any], int] = {}
        self._openers: dict[int, Parcel] = {}

    def packed(self, value: Any) -> Parcel:
        """Pack a value.

        Raises:
            QuantkitError: it refers to what other processes cannot open.
        """
        file = io.BytesIO()
        pickler = _Pickler(file, value, self._number_of)
        pickler.dump(value)
        needs: dict[int, Parcel] = {}
        for number in pickler.numbers:
            needs[number] = self._openers[number]
            needs.update(needs[number].needs)
        return Parcel(file.getvalue(), needs)

    def _number_of(self, opener: Opener[Any]) -> int:
        if isinstance(opener, Carried):
            if opener not in self._carried:
                self._carried[opener] = next(self._new_numbers), self.packed(opener)
            number, self._openers[number] = self._carried[opener]
            return number
        if opener not in self._numbers:
            packed = self.packed(opener)  # which packs those that it needs
            number = next(self._new_numbers)
            self._numbers[opener], self._openers[number] = number, packed
        return self._numbers[opener]


class _Pickler(pickle.Pickler):
    """Writes the numbers of openers, and notes them; the value itself may be one."""

    def __init__(
        self, file: io.BytesIO, value: Any, number_of: Callable[[Any], int]
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._value = value
        self._number_of = number_of
        self.numbers: set[int] = set()

    def persistent_id(self, found: Any) -> int | None:
        kind = type(found)
        is_opener = hasattr(kind, "open") and hasattr(kind, "kept")
        if found is self._value or not is_opener:
            return None
        number = self._number_of(found)
        self.numbers.add(number)
        return number


@dataclass(frozen=True, eq=False)
class _Known:
    """An opener that a worker has.

    Attributes:
        opener: the opener.
        sizes: the pickled bytes, by number, of it and of the openers in it.
    """

    opener: Any
    sizes: Mapping[int, int]


class Unpacker:
    """Unpacks values, and keeps the openers in them, as far as `KEPT_BYTES` allows.

    Args:
        check: called with each opener when it comes for the first time.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self._check = check
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._lock = RLock()

    def unpacked(self, pickled: bytes, opener_of: Callable[[int], bytes]) -> Any:
        """Unpack a value.

        Args:
            pickled: see `Parcel`.
            opener_of: gives an opener that is not known here yet, pickled.
        """

        value, used = self._loaded(pickled, opener_of)
        with self._lock:
            self._forget(used)
        return value

    def _loaded(
        self, pickled: bytes, opener_of: Callable[[int], bytes]
    ) -> tuple[Any, dict[int, int]]:
        """A value, and the sizes of the openers in it, by number."""
        used: dict[int, int] = {}

        def opener(number: int) -> Any:
            with self._lock:
                if number not in self._known:
                    self._known[number] = self._taken(number, opener_of)
                self._known.move_to_end(number)
                known = self._known[number]
            used.update(known.sizes)
            return known.opener

        return _Unpickler(io.BytesIO(pickled), opener).load(), used

    def _taken(self, number: int, opener_of: Callable[[int], bytes]) -> _Known:
        """Unpack an opener that comes for the first time."""
        pickled = opener_of(number)
        found, used = self._loaded(pickled, opener_of)
        self._check(found)
        return _Known(found, {number: len(pickled), **used})

    def _forget(self, used: Collection[int]) -> None:
        """Forget what has not been used for the longest time, and is too much."""
        for number in [number for number in self._known if number not in used]:
            held: dict[int, int] = {}
            for known in self._known.values():
                held.update(known.sizes)
            if sum(held.values()) <= KEPT_BYTES:
                return
            del self._known[number]


class _Unpickler(pickle.Unpickler):
    """Reads openers by their numbers."""

    def __init__(self, file: io.BytesIO, opener: Callable[[int], Any]) -> None:
        super().__init__(file)
        self._opener = opener

    def persistent_load(self, number: int) -> Any:
        return self._opener(number)
