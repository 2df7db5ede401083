"""A partial file in the target's folder, renamed to the target when complete."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, suppress
from io import FileIO
from pathlib import Path
from zlib import crc32

from ..errors import OutputError
from .locks import NO_FOLLOW, open_alone
from .places import (
    MARK,
    Place,
    Placed,
    forget,
    identity_of,
    new_mark,
    read_no_further,
)
from .target import mode_of, output_errors, real_path, sync_folder, target_of

__all__ = ["PartFile"]

OWNER_BITS = 0o600
"""The permissions that a run needs to resume."""


class PartFile:
    """The file `.<name>.part` for a target `<name>`, written from start to end.

    It is locked, so only one process writes it at a time.  It gets the permissions of
    the file that it replaces, or those of a new file.

    Args:
        target: the path of the complete file; a symbolic link is followed.
        size_bytes: the size of the complete file.
        resumable: keep the content that an earlier run left.

    Attributes:
        path: the path of the partial file.
    """

    def __init__(self, target: Path, size_bytes: int, *, resumable: bool) -> None:
        self._name = target
        self._target = real_path(target)
        self._size_bytes = size_bytes
        self._resumable = resumable
        self._file: FileIO | None = None
        self._locked: FileIO | None = None
        self._is_committed = False
        self._mark = b""
        self._seen: set[str] = set()
        self.path = self._target.with_name(f".{self._target.name}.part")

    @property
    def missing_bytes(self) -> int:
        """The disk space still needed, given what the partial file occupies."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return self._size_bytes
        n_bytes = found.st_size
        if hasattr(found, "st_blocks"):  # what was not written at its place is missing
            n_bytes = min(n_bytes, 512 * found.st_blocks)
        return max(0, self._size_bytes - n_bytes)

    def check(self) -> None:
        """Raise an OutputError if the file cannot be created or the disk is full."""
        folder = target_of(self._name).path.parent
        with self._output_errors():
            usage = shutil.disk_usage(folder)
            needed = self.missing_bytes
        # Some network file systems report no sizes at all.
        if usage.total and usage.free < needed:
            raise OutputError(
                f"cannot write {self._name}: it needs {needed:,} bytes, but only "
                f"{usage.free:,} are free in {folder}"
            )

    def open(self) -> None:
        """Create the partial file, or open the one that an earlier run left.

        Raises:
            OutputError: another process is writing it, or it cannot be written.
        """
        self.check()
        with self._output_errors():
            self._file = open_alone(self.path)
            if self._file is None:
                raise OutputError(
                    f"cannot write {self._name}: another process is writing it, as "
                    f"{self.path}; wait for it, or write to another file"
                )
            try:
                if self._resumable:
                    _unmark(self._file)
                else:
                    self._file.truncate(0)
                self._allow(OWNER_BITS)
            except BaseException:
                self.discard()
                raise

    def take(self, n_bytes: int, checksum: int) -> bool:
        """Skip the next bytes if they exist and have this CRC-32."""
        file = self._opened()
        with self._output_errors():
            begin = file.tell()
            if crc32(file.read(n_bytes)) == checksum and file.tell() == begin + n_bytes:
                return True
            file.seek(begin)
        return False

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes; they survive a killed process, but not a power loss."""
        file = self._opened()
        left = memoryview(data)
        with self._output_errors():
            while left:
                left = left[file.write(left) :]

    def share(self) -> None:
        """Let other processes write to the file at places, until `sync`.

        After that, nothing of it can be taken any more.
        """
        locked, self._mark = self._opened(), new_mark()
        with self._output_errors():
            with FileIO(self.path, "r+", opener=_to_write) as file:
                file.seek(self._size_bytes)
                file.write(self._mark)  # closing shows it to other machines
            forget(locked.fileno())
            self._file = FileIO(self.path, "r+", opener=_to_write)
            self._file.seek(locked.tell())
            self._locked = locked

    def place(self, start: int) -> Place:
        """Where bytes belong in the file, after `share`."""
        identity = identity_of(self._opened().fileno())
        return Place(self.path, self._mark, self._size_bytes, start, identity)

    def accept(self, placed: Placed) -> None:
        """Skip the next bytes, which another process has written; write their ends.

        Raises:
            OutputError: they are not there.
        """
        file = self._opened()
        self.write(placed.head)
        self._refuse_unseen(placed, file.tell())
        with self._output_errors():
            n_ends = len(placed.head) + len(placed.tail)
            file.seek(placed.n_bytes - n_ends, os.SEEK_CUR)
        self.write(placed.tail)

    def _refuse_unseen(self, placed: Placed, start: int) -> None:
        """Check once that what a process writes is seen by this one."""
        if placed.by in self._seen or not any(placed.sample):
            return
        with self._output_errors(), self.path.open("rb", buffering=0) as file:
            read_no_further(file.fileno())
            file.seek(start)
            if file.read(len(placed.sample)) != placed.sample:
                raise OutputError(
                    f"cannot write {self._name}: what {placed.by} has written to "
                    f"{self.path} is not there on this machine; write to a folder that "
                    "all machines share, or that only this one has"
                )
        self._seen.add(placed.by)

    def sync(self) -> None:
        """Truncate the file at this position and flush it to disk."""
        with self._output_errors():
            self._opened().truncate()
            os.fsync(self._opened().fileno())

    def commit(self) -> None:
        """Rename the file to the target, after `sync`, and flush the folder."""
        with self._output_errors():
            self._allow(0)
            found = os.fstat((self._locked or self._opened()).fileno())
            if not os.path.samestat(found, self.path.lstat()):
                raise OutputError(
                    f"cannot write {self._name}: {self.path} was replaced meanwhile"
                )
            if os.name == "nt":  # Windows cannot rename an open file
                self.close()
            self.path.replace(self._target)
            self._is_committed = True
            self.close()
            sync_folder(self._target.parent)

    def remove_target(self) -> None:
        """Remove the file that this one replaces, if there is one."""
        with self._output_errors():
            self._target.unlink(missing_ok=True)
            sync_folder(self._target.parent)

    def withdraw(self) -> None:
        """Remove the target if `commit` wrote it."""
        if self._is_committed:
            with suppress(OSError):
                self._target.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the partial file, unless it was renamed to the target."""
        if self._file is None:
            return
        if os.name == "nt":  # Windows cannot remove an open file
            self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close and unlock the partial file."""
        for file in (self._file, self._locked):
            if file is not None:
                with suppress(OSError):  # what `sync` flushed is on disk
                    file.close()
        self._file = self._locked = None

    def _opened(self) -> FileIO:
        if self._file is None:
            raise ValueError(f"{self._name} is not open; write inside a `with` block")
        return self._file

    def _allow(self, more: int) -> None:
        """Give the file the permissions of the one that it replaces, and `more`."""
        mode = mode_of(self._target)
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(self._opened().fileno(), mode | more)

    def _output_errors(self) -> AbstractContextManager[None]:
        size = f"; the complete file has {self._size_bytes:,} bytes"
        return output_errors(self._name, size, self._target.parent)


def _to_write(path: str, flags: int) -> int:
    """Open a file such that nothing of it is read; see `places`."""
    return os.open(path, os.O_WRONLY | NO_FOLLOW)


def _unmark(file: FileIO) -> None:
    """Remove the mark that a stopped run left, so that nobody of it writes any more."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(new_mark())))
    if file.read().startswith(MARK):
        file.truncate(size - len(new_mark()))
    file.seek(0)
