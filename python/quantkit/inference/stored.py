"""Rows of a matrix in GGUF bytes that a device can read: there, or moved on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._device import Card
from .moving import Mover, Rows

__all__ = ["Moved", "Resident", "Stored"]

Array = Any
"""An array on the device."""


class Stored(Protocol):
    """Rows in GGUF bytes: uint8 [n_rows, row bytes]."""

    def __len__(self) -> int:
        """The number of rows."""

    def between(self, start: int, stop: int) -> AbstractContextManager[Array]:
        """Rows start..stop-1 on the device, inside of the block."""

    def at(self, index: NDArray[np.integer[Any]] | Array) -> Array:
        """The rows at an index, which is in either memory, on the device."""

    def part(self, start: int, stop: int) -> Stored:
        """Rows start..stop-1."""


@dataclass(frozen=True, eq=False)
class Resident:
    """Rows in device memory.

    Attributes:
        card: the device.
        data: uint8 [n_rows, row bytes].
    """

    card: Card
    data: Array

    def __len__(self) -> int:
        """See `Stored`."""
        return len(self.data)

    @contextmanager
    def between(self, start: int, stop: int) -> Iterator[Array]:
        """See `Stored.between`."""
        yield self.data[start:stop]

    def at(self, index: NDArray[np.integer[Any]] | Array) -> Array:
        """See `Stored.at`."""
        if isinstance(index, np.ndarray):
            index = self.card.to_device(index.astype(np.int64))
        return self.data[index]

    def part(self, start: int, stop: int) -> Resident:
        """See `Stored.part`."""
        return Resident(self.card, self.data[start:stop])


@dataclass(frozen=True, eq=False)
class Moved:
    """Rows in the host's memory, or in a mapped file, that are moved to be multiplied.

    Attributes:
        mover: moves them.
        data: uint8 [n_rows, row bytes].
        number: of the tensor, for this mover.
        first: the number of the first row in the tensor.
    """

    mover: Mover
    data: NDArray[np.uint8]
    number: int
    first: int = 0

    def __len__(self) -> int:
        """See `Stored`."""
        return len(self.data)

    @contextmanager
    def between(self, start: int, stop: int) -> Iterator[Array]:
        """See `Stored.between`."""
        key = self.number, self.first + start, self.first + stop
        with self.mover.moved(Rows(key, self.data[start:stop])) as rows:
            yield rows

    def at(self, index: NDArray[np.integer[Any]] | Array) -> Array:
        """See `Stored.at`."""
        card = self.mover.card
        if not isinstance(index, np.ndarray):
            index = card.to_host(index)
        return card.to_device(self.data[index])

    def part(self, start: int, stop: int) -> Moved:
        """See `Stored.part`."""
        first = self.first + start
        return Moved(self.mover, self.data[start:stop], self.number, first)
