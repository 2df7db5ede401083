"""Write small files atomically."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError

__all__ = ["refuse_input", "refuse_unwritable", "write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically; text is encoded as UTF-8.

    Raises:
        OutputError: the file cannot be written; no partial file is left.
    """
    with _part(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)


def refuse_unwritable(path: Path) -> None:
    """Raise an OutputError if `write_whole` could not write the file."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    with _part(path) as part:
        part.touch()


def refuse_input(what: str, path: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise an OutputError if an output file is also an input file.

    Args:
        what: the option that names the output file.
        path: the output file.
        inputs: option name -> input file or folder.
    """
    own = path.resolve()
    for name, other in inputs.items():
        if other is None:
            continue
        if own == other.resolve():
            raise OutputError(f"{what} {path} is the same file as {name}")
        if own.exists() and own.parent == other.resolve():
            raise OutputError(f"{what} {path} is a file in {name} {other}")


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """The path of a temporary file in the target's folder, removed at the end."""
    part = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    try:
        yield part
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
