"""Hold Ctrl-C back while something starts or ends that cannot be left half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

__all__ = ["uninterrupted"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt after the block, if Ctrl-C comes meanwhile.

    Only the main thread is interrupted, so in others this does nothing; nor does it if
    Ctrl-C is ignored, as in a job that runs in the background.
    """
    handled = signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
    if current_thread() is not main_thread() or not handled:
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
