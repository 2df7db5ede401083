"""Small files that are complete or absent."""

from __future__ import annotations

import secrets
from pathlib import Path

from .errors import OutputError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8; it appears under its name once it is complete.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
