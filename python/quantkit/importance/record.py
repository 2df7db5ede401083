"""The metadata of a quantized file about its importance matrix.

The keys and their order are llama-quantize's (tools/quantize of llama.cpp), so that the
files are identical.
"""

from __future__ import annotations

from pathlib import Path

from ..gguf.keys import Field, string, uint32
from .given import ImportanceLike, importance_path
from .reading import Contents, read_contents

__all__ = ["IMATRIX_FILE", "IMATRIX_PREFIX", "about_importance", "imatrix_fields"]

IMATRIX_PREFIX = "quantize.imatrix."
IMATRIX_FILE = f"{IMATRIX_PREFIX}file"

TEXT_BYTES = 127
"""The maximum length of a string, as in llama-quantize."""


def imatrix_fields(path: str | Path, contents: Contents) -> dict[str, Field]:
    """The metadata about an importance matrix.

    Args:
        path: its file, as given by the user.
        contents: the contents of the file.
    """
    fields = {IMATRIX_FILE: _short(str(path))}
    if contents.datasets:
        fields[f"{IMATRIX_PREFIX}dataset"] = _short(contents.datasets[0])
    fields[f"{IMATRIX_PREFIX}entries_count"] = uint32(len(contents.sums))
    if contents.chunk_count > 0:
        fields[f"{IMATRIX_PREFIX}chunks_count"] = uint32(contents.chunk_count)
    return fields


def about_importance(importance: ImportanceLike | None) -> dict[str, Field]:
    """The metadata about an importance matrix that is read from a path."""
    path = importance_path(importance)
    return {} if path is None else imatrix_fields(path, read_contents(path))


def _short(text: str) -> Field:
    """A string truncated to `TEXT_BYTES`; bytes that are not UTF-8 are dropped."""
    raw = text.encode(errors="surrogateescape")[:TEXT_BYTES]
    return string(raw.decode(errors="ignore"))
