"""Paths as users give them, one or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from .errors import OptionError

__all__ = ["StrPath", "as_path", "listed"]

StrPath: TypeAlias = str | os.PathLike[str]
"""A path: text, a pathlib.Path, or any other path object."""


def as_path(path: StrPath, parameter: str) -> Path:
    """The path that a user gave.

    Args:
        path: as given.
        parameter: the name that messages call it by.

    Raises:
        OptionError: it is no path.
    """
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(given, str) or "\0" in given:
        raise OptionError(f"`{parameter}` is {given!r}; expected a path, str or Path")
    return Path(given)


def listed(given: Any) -> list[Any]:
    """One or several of anything as a list; a list or a tuple is several."""
    return list(given) if isinstance(given, list | tuple) else [given]
