"""A store for the base's final hidden states, in memory or in a temporary file.

Applying the base's head to them again gives its predictions.  They need 4 bytes times
the model's width per scored token; logits would need the vocabulary size.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import disk_usage
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError

__all__ = ["HiddenStore"]

F32 = NDArray[np.float32]

MEMORY_BYTES = 1 << 30
"""The maximum size to keep in memory."""


class HiddenStore:
    """Numbered arrays of one shape, for use by one thread.

    Args:
        n: the number of arrays.
        shape: the shape of each array.

    Raises:
        OutputError: they fit neither in memory nor in the temporary folder.
    """

    def __init__(self, n: int, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._size = 4 * shape[0] * shape[1]
        self._memory: dict[int, F32] = {}
        self._file: IO[bytes] | None = None
        if n * self._size > MEMORY_BYTES:
            folder = Path(tempfile.gettempdir())
            if disk_usage(folder).free < n * self._size:
                raise self._full(folder, n)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> HiddenStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Delete all arrays and the temporary file."""
        self._memory.clear()
        if self._file is not None:
            self._file.close()

    def put(self, i: int, hidden: F32) -> None:
        """Store array i."""
        if self._file is None:
            self._memory[i] = hidden.copy()  # so that the full sequence can be freed
            return
        self._file.seek(i * self._size)
        self._file.write(hidden.tobytes())

    def get(self, i: int) -> F32:
        """The stored array i."""
        if self._file is None:
            return self._memory[i]
        self._file.seek(i * self._size)
        data = self._file.read(self._size)
        return np.frombuffer(data, np.float32).reshape(self._shape)

    def _full(self, folder: Path, n: int) -> OutputError:
        return OutputError(
            f"the base's hidden states take {n * self._size / 1e9:.1f} GB, and "
            f"{folder} has less; use fewer chunks (`chunks`), or another folder for "
            "temporary files (TMPDIR)"
        )
