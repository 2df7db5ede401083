"""Progress in notebooks: a bar below the cell, unless the caller has a callback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import monotonic
from typing import ParamSpec, TypeVar

from .progress import Progress
from .visible import html_text

__all__ = ["shows_progress"]

REFRESH_SECONDS = 0.2

P = ParamSpec("P")
Result = TypeVar("Result")


def shows_progress(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function with a parameter `progress`, passed by name.

    If it is None, a notebook shows a bar until the function ends; elsewhere nothing is
    shown.  A callback that does nothing keeps notebooks silent, too.
    """

    @wraps(function)
    def shown(*args: P.args, **kwargs: P.kwargs) -> Result:
        if kwargs.get("progress") is not None or not _in_notebook():
            return function(*args, **kwargs)
        with _bar() as progress:
            kwargs["progress"] = progress
            return function(*args, **kwargs)

    return shown


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, Colab, VS Code)."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def _bar() -> Iterator[Progress]:
    """A callback that shows the stage, its bar and the time; removed at the end."""
    from IPython.display import display

    handle, began, updated = None, monotonic(), -REFRESH_SECONDS

    def show(stage: str, done: int, total: int) -> None:
        nonlocal handle, updated
        seconds = monotonic() - began
        if seconds - updated < REFRESH_SECONDS:
            return
        updated = seconds
        shown = _output(_as_html(stage, done, total, seconds))
        if handle is None:
            handle = display(shown, raw=True, display_id=True)
        else:
            handle.update(shown, raw=True)

    try:
        yield show
    finally:
        if handle is not None:
            handle.update(_output(""), raw=True)


def _output(html: str) -> dict[str, str]:
    """An output of a cell; where there is no HTML, nothing is shown."""
    return {"text/html": html, "text/plain": ""}


def _as_html(stage: str, done: int, total: int, seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    share = 100 * done // max(total, 1)
    return (
        f'<progress value="{done}" max="{max(total, 1)}"></progress> {share} % '
        f"{html_text(stage)} ({minutes}:{rest:02d})"
    )
