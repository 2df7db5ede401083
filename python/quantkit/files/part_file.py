"""A partial file in the target's folder, renamed to the target when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from zlib import crc32

from ..errors import OutputError
from .locks import open_alone

__all__ = ["PartFile"]


class PartFile:
    """The file `.<name>.part` for a target `<name>`, written from start to end.

    It is locked, so only one process writes it at a time.

    Args:
        target: the path of the complete file; a symbolic link is followed.
        size_bytes: the size of the complete file.
        resumable: keep the content that an earlier run left.

    Attributes:
        path: the path of the partial file.
    """

    def __init__(self, target: Path, size_bytes: int, *, resumable: bool) -> None:
        self._name = target
        self._target = target.resolve()
        self._size_bytes = size_bytes
        self._resumable = resumable
        self._file: FileIO | None = None
        self.path = self._target.with_name(f".{self._target.name}.part")

    @property
    def missing_bytes(self) -> int:
        """The disk space still needed, given the size of the partial file."""
        try:
            return max(0, self._size_bytes - self.path.stat().st_size)
        except FileNotFoundError:
            return self._size_bytes

    def check(self) -> None:
        """Raise an OutputError if the file cannot be created or the disk is full."""
        folder = self._target.parent
        if not folder.is_dir():
            raise OutputError(f"cannot write {self._name}: there is no folder {folder}")
        if self._target.exists() and not self._target.is_file():
            raise OutputError(f"cannot write {self._name}: it is not a regular file")
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
            if not self._resumable:
                self._file.truncate(0)

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

    def sync(self) -> None:
        """Truncate the file at this position and flush it to disk."""
        with self._output_errors():
            self._opened().truncate()
            os.fsync(self._opened().fileno())

    def commit(self) -> None:
        """Rename the file to the target, after `sync`."""
        with self._output_errors():
            if os.name == "nt":  # Windows cannot rename an open file
                self.close()
            self.path.replace(self._target)
            self.close()

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
        if self._file is not None:
            self._file.close()
        self._file = None

    def _opened(self) -> FileIO:
        if self._file is None:
            raise ValueError(f"{self._name} is not open; write inside a `with` block")
        return self._file

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write {self._name}: {error.strerror or error}; the complete "
                f"file has {self._size_bytes:,} bytes{_free_space(self._target.parent)}"
            ) from error


def _free_space(folder: Path) -> str:
    try:
        return f"; {shutil.disk_usage(folder).free:,} bytes are free in {folder}"
    except OSError:
        return ""
