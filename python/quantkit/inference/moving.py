"""Move rows of weights to a device while it computes.

Rows pass through pinned memory on the device's second stream.  While some rows are in
use, those that came after them the last time are on their way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._device import Card, Event

__all__ = ["Mover", "Rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to move.

    Attributes:
        key: equal for the same rows.
        data: uint8 [rows, row bytes], in the host's memory or in a mapped file.
    """

    key: Hashable
    data: NDArray[np.uint8]


class Mover:
    """Moves rows to one device, for one thread at a time.

    Args:
        card: the device.

    Attributes:
        card: as given.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quantkit-move")
        self._free = [_Slot(card), _Slot(card)]
        self._ahead: _Started | None = None
        self._next: dict[Hashable, Rows] = {}
        self._last: Rows | None = None

    @contextmanager
    def moved(self, rows: Rows) -> Iterator[Any]:
        """The rows on the device: uint8 [rows, row bytes], inside of the block."""
        if self._last is not None:
            self._next[self._last.key] = rows
        self._last = rows
        slot = self._taken(rows)
        try:
            if (after := self._next.get(rows.key)) is not None:
                self._ahead = self._started(after)
            yield slot.arrived(rows.data.shape)
        finally:
            slot.release()
            self._free.append(slot)

    def _taken(self, rows: Rows) -> _Slot:
        """The slot with these rows."""
        started, self._ahead = self._ahead, None
        if started is not None and started.rows.key != rows.key:
            wait([started.future])
            self._free.append(started.slot)
            started = None
        started = started or self._started(rows)
        try:
            started.future.result()
        except BaseException:
            self._free.append(started.slot)
            raise
        return started.slot

    def _started(self, rows: Rows) -> _Started:
        slot = self._free.pop()
        return _Started(rows, slot, self._thread.submit(slot.fill, rows.data))


@dataclass(frozen=True, eq=False)
class _Started:
    """Rows that are on their way."""

    rows: Rows
    slot: _Slot
    future: Future[None]


class _Slot:
    """Memory on both sides for some rows."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._device: Any = None
        self._copied: Event | None = None
        self._used: Event | None = None

    def fill(self, data: NDArray[np.uint8]) -> None:
        """Queue a copy of these rows to the device."""
        with self._card.copying():
            if self._used is not None:
                self._used.block()
            if self._copied is not None:
                self._copied.wait()  # the device still reads the pinned memory
            if data.nbytes > len(self._host):
                there = self._card.empty((data.nbytes,), np.uint8)
                self._host, self._device = self._card.pinned(data.nbytes), there
            host = self._host[: data.nbytes]
            host.reshape(data.shape)[...] = data
            self._card.copy(self._device[: data.nbytes], host)
            self._copied = self._card.event()

    def arrived(self, shape: tuple[int, ...]) -> Any:
        """The rows on the device, for the work that is queued from now on."""
        assert self._copied is not None
        self._copied.block()
        return self._device[: shape[0] * shape[1]].reshape(shape)

    def release(self) -> None:
        """Let others use the memory after the work that is queued now."""
        self._used = self._card.event()
