"""Where an output is written: which paths are accepted, and where links lead.

A symbolic link is followed: the file that it leads to is replaced, and the link stays.
Only regular files are replaced.  Text is written to a device or a FIFO as it is; files
that must be complete before they get their names, such as GGUF files, are not.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError

__all__ = [
    "Target",
    "beside",
    "kind_of",
    "mode_of",
    "output_errors",
    "real_path",
    "sync_folder",
    "target_of",
]

MAX_LINKS = 40
"""The longest chain of links that is followed, as in Linux."""

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/[^/]+(/task/[^/]+)?/fd")
"""Folders whose entries stand for files that a process has open, as /dev/stdout."""

_UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
"""How file systems say that they cannot flush a folder."""


@dataclass(frozen=True)
class Target:
    """An output that can be written.

    Attributes:
        given: the path as the user gave it, for messages.
        path: the regular file to replace or create, or the stream to write to.
        is_stream: it is a device, a FIFO or an open file such as /dev/stdout.
    """

    given: Path
    path: Path
    is_stream: bool


def real_path(path: Path) -> Path:
    """The absolute path without links; of a loop of links, a path inside it."""
    return Path(os.path.realpath(path))


def target_of(given: Path, *, streams: bool = False) -> Target:
    """Check that a path can be written, before any work.

    Args:
        given: the path; a symbolic link is followed.
        streams: whether devices and FIFOs can be written to.

    Raises:
        OutputError: it is a folder, a loop of links, or another kind of file that
            cannot be written; or its folder does not exist or is not writable.
    """
    with output_errors(given):
        try:
            mode = given.stat().st_mode
        except FileNotFoundError:  # a link may lead to a file that does not exist yet
            mode = stat.S_IFREG
        is_stream = streams and (
            stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or _is_descriptor(given)
        )
        if not is_stream and not stat.S_ISREG(mode):
            raise OutputError(
                f"cannot write {given}: it is {kind_of(mode)}, not a regular file"
            )
        path = given if is_stream else real_path(given)
        if not is_stream and not path.parent.is_dir():
            raise OutputError(f"cannot write {given}: there is no folder {path.parent}")
        denied = path if is_stream else path.parent
        if not os.access(denied, os.W_OK if is_stream else os.W_OK | os.X_OK):
            raise OutputError(f"cannot write {given}: no permission to write {denied}")
        return Target(given, path, is_stream)


def kind_of(mode: int) -> str:
    """What a file with this `st_mode` is, for messages."""
    for is_kind, name in (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO (named pipe)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if is_kind(mode):
            return name
    return "a special file"


def beside(path: Path, pattern: str) -> Path | None:
    """A file of quantkit's in the folder of an output; None if that is a stream.

    Args:
        path: the output; a symbolic link is followed.
        pattern: the name with {} for that of the output, such as ".{}.sums".

    Raises:
        OutputError: as for `target_of`.
    """
    target = target_of(path, streams=True)
    if target.is_stream:
        return None
    return target.path.with_name(pattern.format(target.path.name))


def mode_of(path: Path) -> int | None:
    """The permissions of an existing file, which the one that replaces it gets."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a power loss does not undo a rename.

    Raises:
        OSError: the disk reports an error.
    """
    if os.name == "nt":  # Windows cannot open folders
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise


@contextmanager
def output_errors(
    path: Path, more: str = "", folder: Path | None = None
) -> Iterator[None]:
    """Raise an OutputError that names `path` for every OSError.

    Args:
        path: the output.
        more: added to the message.
        folder: the message also says how much space is free there.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        if error.errno == errno.ELOOP:
            reason = "its symbolic links form a loop"
        more += "" if folder is None else _free_space(folder)
        raise OutputError(f"cannot write {path}: {reason}{more}") from error


def _free_space(folder: Path) -> str:
    try:
        return f"; {shutil.disk_usage(folder).free:,} bytes are free in {folder}"
    except OSError:
        return ""


def _is_descriptor(path: Path) -> bool:
    """Whether a path is, or leads to, an entry for an open file of a process."""
    for _ in range(MAX_LINKS):
        if _DESCRIPTORS.fullmatch(os.path.realpath(path.parent)):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / os.readlink(path)
    return False
