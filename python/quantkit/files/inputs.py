"""Open input files: what is no regular file is refused, instead of waited for.

Opening a FIFO waits for its other end.  A model must be a regular file; a text may also
come from a pipe, such as `<(zcat text.gz)` in a shell.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path

from ..errors import FormatError
from .target import kind_of

__all__ = [
    "open_regular",
    "read_regular",
    "read_stream",
    "refuse_irregular",
    "stream_lines",
]

MAX_STREAM_BYTES = 1 << 30
"""The most that is read from a pipe or a device, which may have no end."""

WRITER_SECONDS = 10
"""How long to wait for a process that writes to a FIFO."""

PIECE_BYTES = 1 << 20


def refuse_irregular(path: Path) -> None:
    """Check a file that a library will open by its path.

    Raises:
        FormatError: it is not a regular file.
        OSError: there is no such file.
    """
    _check(path, path.stat().st_mode)


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading, unbuffered.

    Raises:
        FormatError: it is a FIFO, a device or a socket.
        OSError: it cannot be opened; it is a folder.
    """
    file = FileIO(path, "r", opener=_open_at_once)
    try:
        _check(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        most: the most bytes that it may have; None: any number.

    Raises:
        FormatError, OSError: as for `open_regular`; or it is too large, or was written
            to meanwhile.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise FormatError(
                f"{path} has {size:,} bytes; expected up to {most:,}; download it again"
            )
        return _whole(path, file)


def read_stream(path: Path) -> bytes:
    """The content of a regular file, or of a pipe or a device up to its end.

    Raises:
        FormatError: it is a folder or a socket; nothing writes to the FIFO; or it has
            more than 1 GiB.
        OSError: it cannot be opened.
    """
    with FileIO(path, "r", opener=_open_at_once) as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            return _whole(path, file)
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            _check(path, mode)
        pieces = [_first_bytes(path, file)] if stat.S_ISFIFO(mode) else []
        if hasattr(os, "set_blocking"):
            os.set_blocking(file.fileno(), True)
        return _read_to_end(path, file, pieces)


def stream_lines(path: Path) -> Iterator[bytes]:
    """The lines of a regular file, a pipe or a device, with their ends.

    Raises:
        FormatError, OSError: as for `read_stream`.
    """
    if not path.is_file():
        yield from BytesIO(read_stream(path))
        return
    with BufferedReader(open_regular(path)) as file:
        yield from file


def _whole(path: Path, file: FileIO) -> bytes:
    before = os.fstat(file.fileno())
    content = file.readall()
    now = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
        raise FormatError(f"{path} changed while it was read; start again")
    return content


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise FormatError(f"{path} is {kind_of(mode)}; expected a regular file")


def _first_bytes(path: Path, file: FileIO) -> bytes:
    """What is in a FIFO once a process has its other end open, or has closed it."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    deadline = time.monotonic() + WRITER_SECONDS
    while True:
        has_news = poll.poll(0)  # data, or the end
        piece: bytes | None = file.read(PIECE_BYTES)  # None: there is a writer
        if piece is None or piece or has_news:
            return piece or b""
        if time.monotonic() > deadline:
            raise FormatError(
                f"{path} is a FIFO that nothing writes to; start the writer first"
            )
        time.sleep(0.02)


def _read_to_end(path: Path, file: FileIO, pieces: list[bytes]) -> bytes:
    n_read = sum(map(len, pieces))
    while piece := file.read(PIECE_BYTES):
        pieces.append(piece)
        n_read += len(piece)
        if n_read > MAX_STREAM_BYTES:
            raise FormatError(
                f"{path} has more than {MAX_STREAM_BYTES:,} bytes; a pipe or device is "
                "read at once: write it to a file, and use that"
            )
    return b"".join(pieces)
