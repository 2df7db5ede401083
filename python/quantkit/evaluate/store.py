"""The base's final hidden states: in memory, or where they are too large in a file.

They say all that the base predicts, once its head is applied again, in the width of the
model instead of its vocabulary: 4 bytes times the width per scored token.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import disk_usage
from threading import Lock
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError

__all__ = ["HiddenStore"]

F32 = NDArray[np.float32]

MEMORY_BYTES = 1 << 30
"""What may stay in memory."""


class HiddenStore:
    """Arrays of one shape by number; safe to use from many threads.

    Args:
        n: how many arrays there are.
        shape: of each.

    Raises:
        OutputError: they fit neither in memory nor in the folder for temporary files.
    """

    def __init__(self, n: int, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._size = 4 * shape[0] * shape[1]
        self._memory: dict[int, F32] = {}
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        if n * self._size > MEMORY_BYTES:
            folder = Path(tempfile.gettempdir())
            if disk_usage(folder).free < n * self._size:
                raise self._full(folder, n)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> HiddenStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Forget all arrays; a file goes with them."""
        self._memory.clear()
        if self._file is not None:
            self._file.close()

    def put(self, i: int, hidden: F32) -> None:
        """Keep array i."""
        if self._file is None:
            self._memory[i] = hidden.copy()  # not the sequence that it is a part of
            return
        with self._lock:
            self._file.seek(i * self._size)
            self._file.write(hidden.tobytes())

    def get(self, i: int) -> F32:
        """Array i, which was put there before."""
        if self._file is None:
            return self._memory[i]
        with self._lock:
            self._file.seek(i * self._size)
            data = self._file.read(self._size)
        return np.frombuffer(data, np.float32).reshape(self._shape)

    def _full(self, folder: Path, n: int) -> OutputError:
        return OutputError(
            f"the base's hidden states take {n * self._size / 1e9:.1f} GB, and "
            f"{folder} has less; use fewer chunks (`chunks`), or another folder for "
            "temporary files (TMPDIR)"
        )
