"""Small files that are complete or absent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError

__all__ = ["refuse_input", "refuse_unwritable", "write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text in UTF-8; it appears under its name once it is complete.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    with _part(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)


def refuse_unwritable(path: Path) -> None:
    """Raise an OutputError now if `write_whole` could not write a file later."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    with _part(path) as part:
        part.touch()


def refuse_input(what: str, path: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise an OutputError if a file to write is one of those that are read.

    Args:
        what: the option that names the file to write.
        path: that file.
        inputs: by the option that names it, a file or a folder of files.
    """
    own = path.resolve()
    for name, other in inputs.items():
        if other is None:
            continue
        if own == other.resolve():
            raise OutputError(f"{what} {path} is the same file as {name}")
        if own.exists() and own.parent == other.resolve():
            raise OutputError(f"{what} {path} is a file of {name} {other}")


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """Where a file grows beside its target; what is still there at the end goes."""
    part = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    try:
        yield part
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
