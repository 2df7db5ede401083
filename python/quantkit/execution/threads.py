"""Independent pieces of work on threads; results in order, however many there are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from ..errors import OptionError

__all__ = ["checked_threads", "default_threads", "each_on_a_thread", "work_in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_in_order(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int | None = None
) -> Generator[tuple[Item, Result], None, None]:
    """What `work` makes of each item, in parallel and in order.

    A few items per thread are held at a time.  Closing it ends its threads.
    """
    threads = checked_threads(threads)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="quantkit")
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) > 2 * threads:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def each_on_a_thread(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int | None
) -> Iterator[Iterator[tuple[Item, Result]]]:
    """What `work` makes of each item on one thread, BLAS included, in order."""
    results = work_in_order(items, work, threads)
    with threadpool_limits(1, "blas"), closing(results):
        yield results


def checked_threads(threads: int | None) -> int:
    """How many threads, if the option makes sense.

    Raises:
        OptionError: there would be none.
    """
    if threads is not None and threads < 1:
        raise OptionError(f"`threads` must be at least 1, not {threads}")
    return threads or default_threads()


def default_threads() -> int:
    """One thread for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
