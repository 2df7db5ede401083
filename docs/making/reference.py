"""A hook of MkDocs: the page of all public names, for mkdocstrings to fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mkdocs.structure.files import File, Files

import quantkit

__all__ = ["on_files", "page"]

HEAD = """\
# Functions and classes

Everything that `import quantkit as qk` has, from the docstrings.
[From Python](python.md) shows how it is meant to be used.
"""


def on_files(files: Files, config: Any) -> None:
    """Add the page."""
    files.append(File.generated(config, "reference.md", content=page()))


def page() -> str:
    """The text of the page: a heading for each kind of name, and a mark for each."""
    left = list(quantkit.__all__)
    parts = [HEAD]
    for title, belongs in KINDS.items():
        names = [name for name in left if belongs(getattr(quantkit, name))]
        left = [name for name in left if name not in names]
        parts += [f"## {title}\n", *(f"::: quantkit.{name}\n" for name in names)]
    return "\n".join(parts)


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


KINDS: dict[str, Callable[[object], bool]] = {
    "Functions": inspect.isfunction,
    "Errors": _is_error,
    "Classes": inspect.isclass,
    "Other names": lambda value: True,
}
"""By heading, what is listed below it, of what the headings before it left."""
