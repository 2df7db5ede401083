"""The files of a model while it is open, and whether they have changed since."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .identity import is_unchanged, state_text
from .mapped import path_of, refuse_changed, state_of

__all__ = ["OpenFiles", "WatchedFiles"]


class WatchedFiles:
    """Small files that are read by name, so that none may change or be replaced.

    Args:
        paths: the files; those that do not exist are left out.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._states = {path: path.stat() for path in paths if path.exists()}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that exist."""
        return tuple(self._states)

    @property
    def states(self) -> tuple[str, ...]:
        """The state of each file, see `state_text`."""
        return tuple(state_text(*item) for item in self._states.items())

    def refuse_changed(self) -> None:
        """Check that each file is the same as before.

        Raises:
            FormatError: one was written to, replaced or removed.
        """
        for path, before in self._states.items():
            if not _is_same(path, before):
                raise FormatError(
                    f"{path} changed while it was in use; start again when nothing "
                    "writes to it any more"
                )


class OpenFiles:
    """The files of a model, mapped or read by name.

    Args:
        maps: for each mapped file, a view of the map.
        watched: small files beside them, such as config.json.

    Attributes:
        paths: all files.
        states: the state of each when it was opened, see `state_text`.
    """

    def __init__(
        self, maps: Sequence[NDArray[np.uint8]], watched: WatchedFiles | None = None
    ) -> None:
        watched = watched or WatchedFiles(())
        self._maps, self._watched = tuple(maps), watched
        self.paths = (*map(path_of, maps), *watched.paths)
        self.states = (*map(state_of, maps), *watched.states)

    @property
    def identity(self) -> str:
        """The paths, sizes and change times of all files when they were opened."""
        return "; ".join(self.states)

    def refuse_changed(self) -> None:
        """Check that the files have not changed; nothing after `close`.

        A mapped file may be replaced by another one, because the opened one is read on.

        Raises:
            FormatError: a file was written to or truncated, or the disk failed.
        """
        for view in self._maps:
            refuse_changed(view)
        self._watched.refuse_changed()

    def close(self) -> None:
        """Release the maps."""
        self._maps = ()


def _is_same(path: Path, before: os.stat_result) -> bool:
    try:
        now = path.stat()
    except OSError:
        return False
    return os.path.samestat(before, now) and is_unchanged(path, before, now)
