"""What runs independent pieces of work, and gives the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

from ..errors import OptionError

__all__ = ["Pool", "Threads", "Workers", "default_threads", "workers_of"]

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items that wait for each worker, so that none is idle while results are taken."""


class Workers(Protocol):
    """Runs work on items, some at a time."""

    @property
    def count(self) -> int:
        """How many items are worked on at a time."""

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """Each item and what `work` makes of it, in the order of the items.

        A few items per worker are held at a time.  What `work` raises is raised here.
        Close the generator to stop early.

        Args:
            work: a function of a module (or a `partial` of one), not a closure.
            items: what it works on; they describe it, so that they can be pickled.
        """


@dataclass(frozen=True)
class Threads:
    """Threads of this process; BLAS is held to the thread that calls it.

    Attributes:
        count: how many.
    """

    count: int

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        pool = ThreadPoolExecutor(self.count, thread_name_prefix="quantkit")
        with pool, threadpool_limits(1, "blas"):
            yield from _in_order(pool, work, items, AHEAD * self.count)


@dataclass(frozen=True)
class Pool:
    """Any executor of `concurrent.futures`, such as one of processes.

    Attributes:
        executor: runs the work; it is left open.
        count: how many items it works on at a time.
    """

    executor: Executor
    count: int

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        alone = partial(_alone, work)
        yield from _in_order(self.executor, alone, items, AHEAD * self.count)


def _alone(work: Callable[[Item], Result], item: Item) -> Result:
    """Work in a process that does nothing else, so that BLAS is held there for good."""
    _hold_blas()
    return work(item)


@cache
def _hold_blas() -> None:
    threadpool_limits(1, "blas")


def _in_order(
    executor: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
) -> Generator[tuple[Item, Result], None, None]:
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            pending.append((item, executor.submit(work, item)))
            if len(pending) > ahead:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        for _, future in pending:
            future.cancel()


def workers_of(threads: int | Workers | None) -> Workers:
    """So many threads, one for each core, or the workers that are given.

    Raises:
        OptionError: there would be none.
    """
    if threads is None:
        return Threads(default_threads())
    if not isinstance(threads, int):
        if not hasattr(threads, "in_order"):
            raise OptionError(f"`threads` is {threads!r}; expected an integer")
        return threads
    if threads < 1:
        raise OptionError(f"`threads` must be at least 1, not {threads}")
    return Threads(threads)


def default_threads() -> int:
    """One thread for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
