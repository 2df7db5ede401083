"""Read one safetensors file.

Source: the safetensors format (huggingface.co/docs/safetensors).  Its library checks
each header: sizes, types and offsets against the file.  It cannot read bfloat16 as
NumPy arrays, so this module maps the data itself.  Only pages that are read use memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..errors import FormatError
from ..files.mapped import mapped, path_of
from ..settings import shown
from .stored import CheckpointTensor

__all__ = ["one_view_each", "read_shard"]


def read_shard(path: Path) -> list[CheckpointTensor]:
    """The tensors of one file, sorted by name.

    Raises:
        FormatError: it is not a regular file, or not a complete safetensors file.
    """
    if not path.is_file():  # opening a FIFO waits for a writer
        raise FormatError(f"{path} is not a regular file; download it again")
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise FormatError(
            f"{path} is not a complete safetensors file ({shown(str(error))}); the "
            "download is incomplete; download it again"
        ) from error
    data = np.frombuffer(mapped(path), np.uint8)
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = _header(data[8:start].tobytes(), path)
    return [
        CheckpointTensor(
            name,
            tuple(entry["shape"]),
            entry["dtype"],
            data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
        )
        for name, entry in sorted(header.items())
    ]


def one_view_each(tensors: Iterable[CheckpointTensor]) -> list[NDArray[np.uint8]]:
    """A view of each mapped file that tensors are in."""
    views = {id(each.data.base): each.data for each in tensors}
    return list({path_of(view): view for view in views.values()}.values())


def _header(text: bytes, path: Path) -> dict[str, Any]:
    """The entries of a header that the library has checked, without metadata."""

    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise FormatError(
                f"{path} has two entries {shown(twice)}; download it again"
            )
        return entries

    header = once_each(list(json.loads(text, object_pairs_hook=once_each).items()))
    header.pop("__metadata__", None)
    return header
