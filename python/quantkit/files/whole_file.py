"""Write small files atomically."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path

from ..errors import OutputError
from .target import mode_of, output_errors, real_path, sync_folder, target_of

__all__ = ["refuse_input", "refuse_unwritable", "replace_file", "write_whole"]

PART = re.compile(r"(.+)-\d{5}(-of-\d{5}\.\w+)")
"""The name of a file of a split model."""

NAME_CHARACTERS = 50
"""How much of a target's name is in that of its temporary file: at most 200 bytes."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically, or a device or FIFO as it is; text becomes UTF-8.

    Args:
        path: a symbolic link is followed; the file keeps its permissions.
        content: the whole content.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
    """
    data = content.encode() if isinstance(content, str) else content
    target = target_of(path, streams=True)
    if not target.is_stream:
        return replace_file(target.path, data)
    with output_errors(path), _opened_stream(path) as file:
        file.write(data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically, and flush it to disk; a link is replaced, not followed.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
    """
    with output_errors(path), _part(path) as (part, file):
        mode = mode_of(path)
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), mode)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        file.close()
        part.replace(path)
        sync_folder(path.parent)


def refuse_unwritable(path: Path) -> None:
    """Raise an OutputError if `write_whole` could not write the file."""
    target = target_of(path, streams=True)
    if not target.is_stream:
        with output_errors(path), _part(target.path):
            pass


def refuse_input(
    what: str, path: Path, inputs: Mapping[str, Path | Iterable[Path] | None]
) -> None:
    """Raise an OutputError if an output file is also an input file, or a part of one.

    Args:
        what: the option that names the output file.
        path: the output file.
        inputs: option name -> input files or folders.
    """
    own = real_path(path)
    for name, given in inputs.items():
        for other in [given] if isinstance(given, Path) else given or ():
            read = real_path(other)
            if own == read:
                raise OutputError(f"{what} {path} is the same file as {name}")
            if own.exists() and _are_parts(own, read):
                raise OutputError(f"{what} {path} is a part of {name} {other}")
            if own.exists() and own.parent == read:
                raise OutputError(f"{what} {path} is a file in {name} {other}")


def _are_parts(one: Path, other: Path) -> bool:
    """Whether two files are parts of the same split model, by their names."""
    found = [PART.fullmatch(path.name) for path in (one, other)]
    common = {None if each is None else each.groups() for each in found}
    return one.parent == other.parent and len(common) == 1 and None not in common


@contextmanager
def _part(path: Path) -> Iterator[tuple[Path, FileIO]]:
    """A new temporary file in the target's folder, removed at the end."""
    start = path.name[:NAME_CHARACTERS]
    part = path.with_name(f".{start}.part-{secrets.token_hex(4)}")
    file = FileIO(part, "x")
    try:
        yield part, file
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _opened_stream(path: Path) -> BufferedWriter:
    """Open a device, a FIFO or an open file for writing at its end.

    Raises:
        OSError: nothing reads from the FIFO, or the device cannot be opened.
    """
    wait = getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | wait)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        reason = "nothing reads from it; start the reader first"
        raise OSError(error.errno, reason) from None
    if wait:
        os.set_blocking(descriptor, True)
    return open(descriptor, "wb")
