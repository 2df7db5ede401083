"""A file of JSON values, one per line; a killed process loses at most the last one.

Each line starts with the CRC-32 of the rest, in hexadecimal, so that an incomplete line
is detected.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from ..errors import OutputError
from .locks import open_alone

__all__ = ["RecordFile"]


class RecordFile:
    """A file of records, locked by this process; created if it does not exist.

    Args:
        path: the file.
        busy: the error message if another process has it open.

    Raises:
        OutputError: another process has it open, or it cannot be written.
    """

    def __init__(self, path: Path, busy: str) -> None:
        self._path = path
        with self._output_errors():
            raw = open_alone(path)
        if raw is None:
            raise OutputError(busy)
        self._file = io.BufferedRandom(raw)
        self._start = 0

    @property
    def is_foreign(self) -> bool:
        """Whether the file has content that cannot be records."""
        self._file.seek(0)
        start = self._file.read(9)
        self._file.seek(0)
        return re.match(rb"[0-9a-f]{8} |\Z", start) is None

    def read(self) -> Any:
        """The next value; None at the end, or if the line is damaged."""
        self._start = self._file.tell()
        line = self._file.readline()
        checksum, _, body = line.removesuffix(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % crc32(body):
            return None
        try:
            return json.loads(body)
        except ValueError:
            return None

    def cut(self) -> None:
        """Remove the line that `read` read last, and all lines after it.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._output_errors():
            self._file.seek(self._start)
            self._file.truncate()

    def clear(self) -> None:
        """Remove all lines.

        Raises:
            OutputError: the file cannot be written.
        """
        self._start = 0
        self.cut()

    def write(self, value: Any) -> None:
        """Append a value and flush it to the operating system.

        Raises:
            OutputError: the file cannot be written.
        """
        body = json.dumps(value).encode()
        with self._output_errors():
            self._file.write(b"%08x %s\n" % (crc32(body), body))
            self._file.flush()

    def close(self) -> None:
        """Close and unlock the file."""
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            self._file.close()

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write {self._path}: {error.strerror or error}"
            ) from error
