"""Exclusive file locks between processes.

The operating system releases a lock when the file is closed or the process ends, so a
killed process leaves no lock behind.
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
    """Open a file for reading and writing and lock it; create it if needed.

    Returns:
        The file, or None if another process has locked it.

    Raises:
        OSError: the file cannot be opened.
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
    """Hold an exclusive lock for a file, which need not exist.

    Raises:
        OutputError: another process holds the lock.
        OSError: the folder is not writable.
    """
    lock = path.with_name(f".{path.name}.lock")
    file = open_alone(lock)
    if file is None:
        raise OutputError(
            f"cannot write {path}: another process is working on it; wait for it, or "
            "write to another file"
        )
    try:
        yield
    finally:
        if os.name == "nt":  # Windows cannot remove an open file
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
            return True  # the file system has no locks
        return True
