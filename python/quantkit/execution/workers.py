"""Workers that process independent items in parallel and return results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from threading import current_thread
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

from ..errors import OptionError, QuantkitError
from ..integers import as_integer
from .memory import available_bytes

__all__ = [
    "AHEAD",
    "Pool",
    "Threads",
    "Workers",
    "by_default",
    "default_threads",
    "hold_blas",
    "in_this_process",
    "kept_open",
    "model_bytes",
    "share_memory",
    "thread_pool",
    "whole_workers",
    "workers_of",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD = "quantkit"
"""What the names of threads start with."""
AHEAD = 2
"""Queued items per worker, so that workers stay busy while results are consumed."""


class Workers(Protocol):
    """Runs a function on items in parallel."""

    @property
    def count(self) -> int:
        """The number of items processed at a time."""

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """Yield each item and its result, in the order of the items.

        Only a few items per worker are in memory.  Exceptions of `work` are raised
        here.  Close the generator to stop early.

        Args:
            work: a module-level function or a `partial` of one, not a closure.
            items: picklable descriptions of the work.
        """


@dataclass(frozen=True)
class Threads:
    """Threads of this process; BLAS is limited to one thread per call.

    Attributes:
        count: the number of threads.

    Raises:
        OptionError: `count` is not an integer, or is less than 1.
    """

    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", as_integer(self.count, "count", 1))

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        with thread_pool(self.count) as pool:
            yield from _in_order(pool, work, items, AHEAD * self.count)


@dataclass(frozen=True)
class _OpenThreads:
    """Threads that wait between calls."""

    pool: ThreadPoolExecutor
    count: int

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        yield from _in_order(self.pool, work, items, AHEAD * self.count)


def share_memory(workers: Workers) -> bool:
    """Whether workers may write to arrays of this process."""
    return isinstance(workers, Threads | _OpenThreads)


def model_bytes(workers: Workers) -> int:
    """Bytes of memory that each process has for models: this one and the workers'.

    Workers on other machines tell it by an attribute of this name.
    """
    if share_memory(workers):
        return available_bytes()
    own: int | None = getattr(workers, "model_bytes", None)
    return available_bytes() // (1 + workers.count) if own is None else own


def whole_workers(workers: Workers) -> Workers | None:
    """Workers that do one item at a time, each with all its threads.

    Those of a cluster have them as an attribute `whole`, and get the value of a
    `Carried` once.  None: these are no such workers.
    """
    whole: Workers | None = getattr(workers, "whole", None)
    return whole


@contextmanager
def kept_open(workers: Workers) -> Iterator[Workers]:
    """The same workers; threads are started once for all calls in the block."""
    if not isinstance(workers, Threads):
        yield workers
        return
    with thread_pool(workers.count) as pool:
        yield _OpenThreads(pool, workers.count)


@contextmanager
def thread_pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, for which BLAS has one thread.

    At the end it waits for them.  A generator that was left unfinished may be collected
    in one of them, which cannot wait for itself.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=THREAD)
    try:
        with threadpool_limits(1, "blas"):
            yield pool
    finally:
        pool.shutdown(wait=not current_thread().name.startswith(THREAD))


@dataclass(frozen=True)
class Pool:
    """An executor of `concurrent.futures`, for example of processes.

    Attributes:
        executor: runs the work; it is not shut down.
        count: the number of items that it processes at a time.

    Raises:
        OptionError: `executor` is not an executor, or `count` is not an integer of at
            least 1.
    """

    executor: Executor
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", as_integer(self.count, "count", 1))
        if not hasattr(self.executor, "submit"):
            raise OptionError(
                f"`executor` is {self.executor!r}; expected an executor of "
                "concurrent.futures"
            )

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        alone = partial(_alone, work)
        try:
            yield from _in_order(self.executor, alone, items, AHEAD * self.count)
        except BrokenExecutor as error:
            raise QuantkitError(
                "a worker of the pool ended before its work was done; it may have been "
                "killed, or have run out of memory: repeat with a new pool, of fewer "
                f"workers if need be ({error})"
            ) from error


def _alone(work: Callable[[Item], Result], item: Item) -> Result:
    """Run `work` in a worker process, with BLAS permanently limited to one thread."""
    hold_blas()
    return work(item)


@cache
def hold_blas() -> None:
    """Limit BLAS to one thread per call, for the rest of the process."""
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
            pending.append((item, _submitted(executor, work, item)))
            if len(pending) > ahead:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        for _, future in pending:
            future.cancel()


def _submitted(
    executor: Executor, work: Callable[[Item], Result], item: Item
) -> Future[Result]:
    try:
        return executor.submit(work, item)
    except BrokenExecutor:
        raise
    except RuntimeError as error:  # how executors refuse work after their shutdown
        raise OptionError(
            f"`threads`: the pool takes no work ({error}); pass one that is not shut "
            "down"
        ) from error


_default: ContextVar[Workers | None] = ContextVar("default workers", default=None)


@contextmanager
def by_default(workers: Workers) -> Iterator[None]:
    """Let these workers do what has no other ones, as long as the block runs."""
    token = _default.set(workers)
    try:
        yield
    finally:
        _default.reset(token)


def workers_of(threads: int | Workers | None) -> Workers:
    """The given workers, or that many threads.

    None: those of `by_default`, or else one thread per core.

    Raises:
        OptionError: `threads` is not an integer, or is less than 1.
    """
    if threads is None:
        return _default.get() or Threads(default_threads())
    is_class = isinstance(threads, type)  # such as Threads, without a count
    if isinstance(threads, int) or is_class or not hasattr(threads, "in_order"):
        return Threads(as_integer(threads, "threads", 1))
    return threads


def in_this_process(threads: int | Workers | None) -> Workers:
    """Threads, as many as the given workers process items at a time.

    For work whose items are too large to be sent to other processes.  For workers that
    are not in this process, at most one thread per core.
    """
    workers = workers_of(threads)
    if share_memory(workers):
        return workers
    return Threads(min(workers.count, default_threads()))


def default_threads() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
