"""Read whole files of a tokenizer that are not JSON."""

from __future__ import annotations

from pathlib import Path

from ..errors import FormatError
from ..files.inputs import read_regular

__all__ = ["MAX_BYTES", "read_bytes", "read_text"]

MAX_BYTES = 1 << 28
"""The largest file that is read; real ones have up to 10 MB."""


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FormatError: it is no regular file, cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if path.is_file() and size <= MAX_BYTES:
            return read_regular(path)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    raise FormatError(
        f"{path} is no regular file of up to {MAX_BYTES:,} bytes ({size:,}); download "
        "it again"
    )


def read_text(path: Path) -> str:
    """The text of a file, with "\\n" at the ends of lines.

    Raises:
        FormatError: as for `read_bytes`, or it is not UTF-8.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 ({error}); download it again") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
