"""How other processes open a source: the files again, or from afar."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..execution.opened import opened
from ..files.identity import other_file, refuse_other, state_text
from ..files.open_files import OpenFiles
from .shipping import Ask, Description, ShippedSource, described
from .source import ModelSource, Rows

__all__ = ["SourceOpener"]


@dataclass(frozen=True)
class SourceOpener:
    """Opens a source in another process, if its files have not changed.

    Attributes:
        kind: the class of the source.
        arguments: the keyword arguments of the class.
        paths: the source's files.
        states: the state of each file, see `state_text`.
    """

    kept: ClassVar[int] = 8

    kind: Callable[..., ModelSource]
    arguments: tuple[tuple[str, Hashable], ...]
    paths: tuple[Path, ...]
    states: tuple[str, ...]

    @classmethod
    def of(
        cls,
        kind: Callable[..., ModelSource],
        files: OpenFiles,
        **arguments: Hashable,
    ) -> SourceOpener:
        """The opener of the source `kind(**arguments)`, which has `files` open.

        Its paths are absolute, since other processes may work in other folders.
        """
        there = tuple(path.absolute() for path in files.paths)
        absolute = {
            name: value.absolute() if isinstance(value, Path) else value
            for name, value in arguments.items()
        }
        return cls(kind, tuple(absolute.items()), there, files.states)

    def lacks(self) -> str | None:
        """What this machine lacks of the source's files, as a sentence, or None.

        Copies with the same size and modification time will do.
        """
        path = other_file(self.paths, self.states, copies=True)
        if path is None:
            return None
        if path.exists():
            return f"{path} is another file there, or has changed"
        return f"there is no {path}"

    def here(self) -> SourceOpener:
        """An opener of the files that this machine has at the paths."""
        states = tuple(state_text(path, path.stat()) for path in self.paths)
        return replace(self, states=states)

    def open(self) -> ModelSource:
        """Open the source.

        Raises:
            FormatError: a file has changed since the source was first opened.
        """
        refuse_other(self.paths, self.states)
        return self.kind(**dict(self.arguments))

    def ask(self, name: str = "", start: int = 0, stop: int = 0) -> Description | Rows:
        """Answer a question of `shipped`, on a machine that has the files.

        Args:
            name: a tensor; "": the description of the source is wanted.
            start, stop: the rows that are wanted.
        """
        source = opened(self)
        if not name:
            return described(source)
        return np.array(source.tensors[name].read(start, stop))

    def shipped(self, ask: Ask) -> ShippedSource:
        """The source on a machine without the files.

        Args:
            ask: asks another process, whose `ask` answers.
        """
        return ShippedSource(ask)
