"""What holds for every reader: only a `QuantkitError`, in limits of time and memory."""

from __future__ import annotations

import faulthandler
import logging
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from quantkit.errors import QuantkitError

from .readers import READERS

__all__ = ["CASES", "MEMORY", "SECONDS", "TooSlow", "cases_of", "run_input"]

CASES = Path(__file__).parent / "cases"
SECONDS = 30
"""How long one input may take; most take a few milliseconds."""
MEMORY = 2 << 30
"""Bytes of memory that an input may add."""


class TooSlow(BaseException):
    """An input took longer than `SECONDS`; no reader may catch it."""


def cases_of(name: str) -> list[Path]:
    """The inputs that once failed."""
    return sorted((CASES / name).glob("*"))


def run_input(name: str, data: bytes) -> None:
    """Give an input to a reader; any error but a `QuantkitError` is a fault."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # numbers of damaged models overflow
    # Windows does not remove files that are still mapped.
    folders = tempfile.TemporaryDirectory(
        dir=_fast_folder(), ignore_cleanup_errors=True
    )
    with folders as folder, _limits(), suppress(QuantkitError):
        READERS[name].run(data, Path(folder))


def _fast_folder() -> str | None:
    """A folder in memory, where the system has one."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


@contextmanager
def _limits() -> Iterator[None]:
    """Interrupt a reader that takes too long or too much memory."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("limits need the main thread")
    with _memory_limit(), _time_limit():
        yield


@contextmanager
def _time_limit() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    # If C code does not return, the process ends with a traceback.
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    earlier = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
        faulthandler.cancel_dump_traceback_later()


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS} seconds")


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Let memory run out after `MEMORY` more bytes: a MemoryError is a fault."""
    try:
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # not Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = size * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
