"""Files of quantkit's own beside an output, each opened by one process at a time.

Their names can be guessed, so others may have put something else there: a link, a FIFO,
a file that they can write to.  Such files are refused, not followed or overwritten.

The operating system releases a lock when the file is closed or the process ends, so a
killed process leaves no lock behind.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from ..errors import OutputError
from .target import kind_of, output_errors

__all__ = ["alone_on", "open_alone"]

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Refuse a link; do not wait for the other end of a FIFO."""


def open_alone(path: Path) -> FileIO | None:
    """Open a file for reading and writing and lock it; create it if needed.

    Returns:
        The file, or None if another process has locked it.

    Raises:
        OutputError: there is something that quantkit did not create, such as a link.
        OSError: the file cannot be opened.
    """
    while True:
        _refuse_foreign(path)
        file = FileIO(path, "r+", opener=_open_or_create)
        try:
            _refuse_foreign(path, file)
            is_locked = _lock(file)
            if is_locked and _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not is_locked:
            return None
        # It was renamed or removed before it was locked.


@contextmanager
def alone_on(path: Path) -> Iterator[None]:
    """Hold an exclusive lock for a file, which need not exist.

    Raises:
        OutputError: another process holds the lock, or the folder is not writable.
    """
    lock = path.with_name(f".{path.name}.lock")
    with output_errors(path):
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
    return os.open(path, flags | os.O_CREAT | NO_FOLLOW, 0o666)


def _refuse_foreign(path: Path, file: FileIO | None = None) -> None:
    """Refuse what quantkit did not create at this path.

    Args:
        path: the path.
        file: the file that was opened there; None: look at the path.
    """
    try:
        found = path.lstat() if file is None else os.fstat(file.fileno())
    except FileNotFoundError:
        return
    what = ""
    if not stat.S_ISREG(found.st_mode):
        what = kind_of(found.st_mode)
    elif found.st_nlink > 1:
        what = "a file that also has other names (hard links)"
    elif not _is_trusted(found.st_uid, path.parent):
        what = "the file of another user"
    if what:
        raise OutputError(
            f"{path} is {what}, but quantkit keeps a file of its own there; remove it, "
            "or write to another file"
        )


def _is_trusted(owner: int, folder: Path) -> bool:
    """Whether a file of this owner may be quantkit's.

    The owner of the folder is trusted, too, because they can replace every file in it;
    some file systems show all files as theirs.
    """
    if not hasattr(os, "geteuid"):
        return True
    return owner in (os.geteuid(), folder.stat().st_uid)


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
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
