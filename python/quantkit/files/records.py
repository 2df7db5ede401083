"""A file of JSON values, one per line; a killed process loses at most the last one.

Each line starts with the CRC-32 of the rest, in hexadecimal, so that an incomplete line
is detected.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from ..errors import FormatError, OutputError
from .inputs import open_regular
from .locks import open_alone
from .target import output_errors

__all__ = ["RecordFile", "read_records"]

START = re.compile(rb"[0-9a-f]{8} |\Z")
"""How a file of records starts."""


class RecordFile:
    """A file of records, locked by this process; created if it does not exist.

    First all records are read, up to one that is not valid; after `cut` or `clear`,
    more are written.

    Args:
        path: the file.
        busy: the error message if another process has it open.

    Raises:
        OutputError: another process has it open, or it cannot be written.
    """

    def __init__(self, path: Path, busy: str) -> None:
        self._path = path
        with output_errors(path):
            raw = open_alone(path)
        if raw is None:
            raise OutputError(busy)
        self._raw = raw  # unbuffered, so that a failed write leaves nothing behind
        self._file = io.BufferedReader(raw)
        self._start = 0

    @property
    def is_foreign(self) -> bool:
        """Whether the file has content that cannot be records."""
        self._file.seek(0)
        start = self._file.read(9)
        self._file.seek(0)
        return START.match(start) is None

    def read(self) -> Any:
        """The next value; None at the end, or if the line is damaged."""
        self._start = self._file.tell()
        return _value(self._file.readline())

    def cut(self) -> None:
        """Remove the line that `read` read last, and all lines after it.

        Raises:
            OutputError: the file cannot be written.
        """
        with output_errors(self._path):
            self._file.detach()
            self._file = io.BufferedReader(self._raw)  # without what the old one holds
            self._raw.seek(self._start)
            self._raw.truncate()

    def clear(self) -> None:
        """Remove all lines.

        Raises:
            OutputError: the file cannot be written.
        """
        self._start = 0
        self.cut()

    def write(self, value: Any) -> None:
        """Append a value, and pass it to the operating system.

        Raises:
            OutputError: the file cannot be written; it is as it was before.
        """
        body = json.dumps(value).encode()
        left = memoryview(b"%08x %s\n" % (crc32(body), body))
        with output_errors(self._path):
            start = self._raw.tell()
            try:
                while left:
                    left = left[self._raw.write(left) :]
            except OSError:
                with suppress(OSError):
                    self._raw.truncate(start)
                raise

    def remove(self) -> None:
        """Remove the file, then close and unlock it."""
        if os.name == "nt":  # Windows cannot remove an open file
            self.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close and unlock the file."""
        with suppress(OSError):
            self._file.close()


def read_records(path: Path) -> Iterator[Any]:
    """The values in a file of records, which is not changed.

    A last line that has no end is left out: its writer was killed, or still writes.

    Raises:
        FormatError: it is no such file, or a line is damaged.
        OSError: it cannot be read.
    """
    with io.BufferedReader(open_regular(path)) as file:
        if START.match(file.peek(9)) is None:
            raise FormatError(f"{path} is not a file of saved scores")
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            value = _value(line)
            if value is None:
                raise FormatError(f"{path} is damaged in line {number}")
            yield value


def _value(line: bytes) -> Any:
    """The value in a line; None if the line is damaged."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % crc32(body):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
