"""Hold signals back while something starts or ends that cannot be left half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

__all__ = ["terminable", "uninterrupted"]

HELD = signal.SIGINT, signal.SIGTERM
"""Ctrl-C, and how systems end processes."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block.

    Only the main thread is interrupted, so in others this does nothing; nor does it if
    a signal is ignored, as Ctrl-C in a job that runs in the background.
    """
    if current_thread() is not main_thread():
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in HELD
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for come in held:
        signal.raise_signal(come)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block by SystemExit, if it would end the process at once."""
    is_main = current_thread() is main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # as shells tell it
