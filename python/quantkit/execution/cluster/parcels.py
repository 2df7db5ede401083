"""Pack work for a worker, and unpack it there.

Openers (see `execution.opened`) are packed apart from the work that needs them.  A
piece of work has only their numbers, and a worker unpacks each opener once.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

from ..opened import Opener

__all__ = ["Packer", "Parcel", "Unpacker"]

KEPT = 64
"""Openers that a worker keeps; they may have importance matrices."""


@dataclass(eq=False)
class Parcel:
    """A value for a worker: a function and its items, or an opener.

    Attributes:
        pickled: the value.
        needs: the openers in it, and those in these, by number.
        stored: a reference to the value where a team has put it; None: nowhere yet.
    """

    pickled: bytes
    needs: Mapping[int, Parcel]
    stored: Any = None


class Packer:
    """Packs the values of a run of work.

    Args:
        numbers: gives the numbers of openers, which no other packer gives.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self._new_numbers = numbers
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


class Unpacker:
    """Unpacks values, and keeps the openers in them, `KEPT` at most.

    Args:
        check: called with each opener when it comes for the first time.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self._check = check
        self._openers: OrderedDict[int, Any] = OrderedDict()
        self._lock = RLock()

    def unpacked(self, pickled: bytes, opener_of: Callable[[int], bytes]) -> Any:
        """Unpack a value.

        Args:
            pickled: see `Parcel`.
            opener_of: gives an opener that is not known here yet, pickled.
        """

        def opener(number: int) -> Any:
            with self._lock:
                if number not in self._openers:
                    found = self.unpacked(opener_of(number), opener_of)
                    self._check(found)
                    self._openers[number] = found
                    if len(self._openers) > KEPT:
                        self._openers.popitem(last=False)
                    return found
                self._openers.move_to_end(number)
                return self._openers[number]

        return _Unpickler(io.BytesIO(pickled), opener).load()


class _Unpickler(pickle.Unpickler):
    """Reads openers by their numbers."""

    def __init__(self, file: io.BytesIO, opener: Callable[[int], Any]) -> None:
        super().__init__(file)
        self._opener = opener

    def persistent_load(self, number: int) -> Any:
        return self._opener(number)
