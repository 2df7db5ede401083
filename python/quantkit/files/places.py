"""Places in a partial file, which other processes and machines write at, too.

A place tells a process where its bytes belong in a file that another one has open.  It
can be pickled.  The file ends with a mark as long as it is written: a process that
finds the mark at the path sees the same file, and one that is late does not find it.

On the machine that has the file, all bytes are written.  Others share it by a network
file system, whose clients write whole pages: of what they have read, or changed as a
whole.  So nobody writes to a page in which bytes of others are, and nobody writes with
a descriptor that can read.  What is left at both ends of the bytes is for the process
that has the file.
"""

from __future__ import annotations

import mmap
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_bytes

from .locks import NO_FOLLOW
from .target import output_errors

__all__ = [
    "MARK",
    "Identity",
    "Place",
    "Placed",
    "forget",
    "identity_of",
    "new_mark",
    "read_no_further",
]

MARK = b"quantkit"
"""How the mark of a file that is being written starts."""

SAMPLE_BYTES = 64
"""What the process that has the file reads again, to see that it is the same file."""

Identity = tuple[str, int, int]
"""The kernel that runs, the file system and the file."""


def new_mark() -> bytes:
    """A mark that no other run has."""
    return MARK + token_bytes(16)


@dataclass(frozen=True)
class Placed:
    """Bytes that a process has written at their place, but for the ends.

    Attributes:
        n_bytes: the number of all bytes.
        head, tail: the ends, not written yet.
        sample: the first of the bytes that were written.
        by: the process and its machine, for messages.
    """

    n_bytes: int
    head: bytes
    tail: bytes
    sample: bytes
    by: str


@dataclass(frozen=True)
class Place:
    """Where bytes belong in a partial file.

    Attributes:
        path: the file.
        mark: what is at the end of the file as long as it is written.
        end: where the mark is.
        start: where the bytes belong.
        identity: of the file, for the process that has it.
        page_bytes: the size of a page of that process.
    """

    path: Path
    mark: bytes
    end: int
    start: int
    identity: Identity
    page_bytes: int = mmap.PAGESIZE

    def put(self, data: memoryview) -> Placed | None:
        """Write bytes; on another machine, until they are on disk.

        Args:
            data: of bytes.

        Returns:
            What was written; None: this process does not see the file.

        Raises:
            OutputError: it sees the file, and cannot write to it.
        """
        identity = self._found()
        if identity is None:
            return None
        is_here = identity == self.identity
        first, last = (0, len(data)) if is_here else self._pages(len(data))
        with output_errors(self.path, f", on {platform.node()}"):
            file = os.open(self.path, os.O_WRONLY | NO_FOLLOW)
            try:
                left, start = data[first:last], self.start + first
                while left:
                    n_written = os.pwrite(file, left, start)
                    left, start = left[n_written:], start + n_written
                if not is_here:
                    os.fsync(file)
            finally:
                os.close(file)
        return Placed(
            len(data),
            bytes(data[:first]),
            bytes(data[last:]),
            bytes(data[first : min(first + SAMPLE_BYTES, last)]),
            f"{os.getpid()} on {platform.node()}",
        )

    def _found(self) -> Identity | None:
        """The identity of the file here; None: it is not there, or not that one."""
        try:
            file = os.open(self.path, os.O_RDONLY | NO_FOLLOW)
        except OSError:
            return None
        try:
            read_no_further(file)
            is_marked = os.pread(file, len(self.mark), self.end) == self.mark
            is_writable = os.access(self.path, os.W_OK)
            return identity_of(file) if is_marked and is_writable else None
        finally:
            os.close(file)

    def _pages(self, n_bytes: int) -> tuple[int, int]:
        """From where to where bytes fill whole pages, on both machines."""
        page = max(mmap.PAGESIZE, self.page_bytes)
        first = min(-self.start % page, n_bytes)
        return first, max(first, n_bytes - (self.start + n_bytes) % page)


def read_no_further(file: int) -> None:
    """Keep the system from reading, and keeping, more of a file than is asked for."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)


def forget(file: int) -> None:
    """Let the system forget what it has read of a file."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def identity_of(file: int) -> Identity:
    """The identity of an open file; processes that see the same one share its pages."""
    found = os.fstat(file)
    return _kernel(), found.st_dev, found.st_ino


@cache
def _kernel() -> str:
    """The running kernel; of systems that do not tell it, this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return f"{os.getpid()} on {platform.node()}"
