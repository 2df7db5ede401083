"""Check paths that users pass, one or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from .errors import OptionError

__all__ = ["StrPath", "as_path", "listed"]

StrPath: TypeAlias = str | os.PathLike[str]
"""A path: a str, a pathlib.Path, or any other path object."""


def as_path(path: StrPath, parameter: str) -> Path:
    """Check a path and convert it to a Path.

    Args:
        path: the path.
        parameter: the name of the parameter, for messages.

    Raises:
        OptionError: it is not a path.
    """
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(given, str):
        kind = type(given).__name__
        raise OptionError(f"`{parameter}` is of type {kind}; expected a str or a Path")
    if not given or "\0" in given:
        raise OptionError(f"`{parameter}` is {given!r}, which is not a path")
    return Path(given)


def listed(given: Any) -> list[Any]:
    """One or several values as a list; a list or tuple holds several."""
    return list(given) if isinstance(given, list | tuple) else [given]
