"""Workers that run on devices, one thread for each device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .opened import Shared
from .workers import AHEAD, thread_pool

__all__ = ["Device", "OnDevices", "SharedByDevices"]

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")
U = TypeVar("U")

_local = threading.local()


class Device(Protocol):
    """Where work may run."""

    def current(self) -> AbstractContextManager[object]:
        """Makes it the device of the calling thread."""


@dataclass(frozen=True, eq=False)
class OnDevices:
    """A thread for each of several devices; see `Workers`.

    The first item is for the first device, the next one for the next device, and so on.
    So where an item runs does not depend on time.

    Attributes:
        devices: the devices.
    """

    devices: Sequence[Device]

    @property
    def count(self) -> int:
        """The number of items processed at a time."""
        return len(self.devices)

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        pending: deque[tuple[Item, Future[Result]]] = deque()
        with ExitStack() as stack:
            threads = [stack.enter_context(thread_pool(1)) for _ in self.devices]
            stack.callback(lambda: [future.cancel() for _, future in pending])
            for i, item in enumerate(items):
                number = i % self.count
                future = threads[number].submit(self._run, number, work, item)
                pending.append((item, future))
                if len(pending) > AHEAD * self.count:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()

    def _run(self, number: int, work: Callable[[Item], Result], item: Item) -> Result:
        _local.number = number
        with self.devices[number].current():
            return work(item)


class SharedByDevices(Shared[T]):
    """An object that each device has for itself; other processes cannot open it.

    Args:
        values: the object of each device of `OnDevices`, in the same order.
    """

    def __init__(self, values: Sequence[T]) -> None:
        super().__init__(None)
        self._values = values

    @property
    def here(self) -> T | None:
        """See `Shared.here`."""
        return self.value

    @property
    def value(self) -> T:
        """The object of the device that this thread works on, or of the first one."""
        number: int = getattr(_local, "number", 0)
        return self._values[number]

    def taken(self, opener: object, take: Callable[[T], U]) -> SharedByDevices[U]:
        """See `Shared.taken`."""
        return SharedByDevices([take(value) for value in self._values])
