"""Files that one process at a time may write, each of them opened once.

The operating system releases a lock when its file is closed or its process ends, so
that a killed process locks out nobody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from ..errors import OutputError

__all__ = ["alone_on", "open_alone"]


def open_alone(path: Path) -> FileIO | None:
    """Open a file to read and write, as it is or new; None if somebody else has it.

    Raises:
        OSError: it cannot be opened.
    """
    while True:
        file = FileIO(path, "r+", opener=_open_or_create)
        if not _lock(file):
            file.close()
            return None
        if _is_at(file, path):
            return file
        file.close()  # it was renamed or removed before it was locked


@contextmanager
def alone_on(path: Path) -> Iterator[None]:
    """Be the only process that works on a file, which need not exist.

    Raises:
        OutputError: another process works on it.
        OSError: its folder cannot be written to.
    """
    lock = path.with_name(f".{path.name}.lock")
    file = open_alone(lock)
    if file is None:
        raise OutputError(
            f"cannot write {path}: another process is working on it; wait for that, or "
            "write to another file"
        )
    try:
        yield
    finally:
        if os.name == "nt":  # which removes no open file
            file.close()
        with suppress(OSError):
            lock.unlink()
        file.close()


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: FileIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks: nobody can have one
        return True
