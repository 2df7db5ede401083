"""Checksums beside files, as `sha256sum -c` reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..files.identity import hash_files
from ..files.whole_file import write_whole

__all__ = ["CHECKSUMS", "write_checksums"]

CHECKSUMS = "SHA256SUMS"

ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
"""How sha256sum writes these characters in names; such a line starts with a backslash.

Source: GNU coreutils' manual, "md5sum invocation".
"""
NAME_AT = 66
"""Where the name is in a line: after 64 digits and two spaces."""


def write_checksums(paths: Sequence[Path]) -> None:
    """Write `CHECKSUMS` into each folder of the files; lines of other files stay.

    Raises:
        OutputError: a file cannot be written.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        own = {path.name: path for path in paths if path.parent == folder}
        file, lines = folder / CHECKSUMS, list[str]()
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            lines = [line for line in text.split("\n") if line]
        lines = [line for line in lines if _name_in(line) not in own]
        lines += [_line_of(own[name]) for name in sorted(own)]
        content = "\n".join(lines) + "\n"
        write_whole(file, content.encode("utf-8", "surrogateescape"))


def _line_of(path: Path) -> str:
    name = "".join(ESCAPES.get(char, char) for char in path.name)
    mark = "" if name == path.name else "\\"
    return f"{mark}{hash_files([path])}  {name}"


def _name_in(line: str) -> str:
    """The name of the file that a line is about."""
    if not line.startswith("\\"):
        return line[NAME_AT:]
    originals = {escape: char for char, escape in ESCAPES.items()}
    name = line[NAME_AT + 1 :]
    return re.sub(r"\\.", lambda found: originals.get(found[0], found[0]), name)
