"""The door to the terminal: everything that the command line prints passes here.

Foreign text (names of tensors and files, metadata, messages of libraries) is shown as
it is, except that control characters become visible.  rich gets no string in which it
would look for markup or emoji codes: styles are not written in strings.  No other
module of this package prints, or uses rich, except `bars`, which shows `shown_text` and
`shown_table` only (`tests/test_terminal.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from ..cells import Cells
from ..files.json_file import json_text
from ..visible import visible

if TYPE_CHECKING:  # rich is imported only when something is shown with it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "Part",
    "new_console",
    "paragraph",
    "print_json",
    "print_notice",
    "print_plain",
    "print_result",
    "shown_table",
    "shown_text",
    "terminal_width",
    "written_out",
]

Part: TypeAlias = Cells | str
"""A part of a result: a table, or a line."""

WIDTH = 1000
"""The width of tables in characters; terminals wrap them."""
HEIGHT = 25
"""Without a height, rich takes every dumb terminal for one of 80 characters."""

MOST_ROWS = 5000
"""Rows of a table that are printed; more take long to lay out."""


def terminal_width() -> int:
    """Characters in a line of the terminal, or COLUMNS; 80 if neither is known."""
    return get_terminal_size((80, 24)).columns


def paragraph(text: str) -> list[str]:
    """A long text as lines of the terminal; for a pipe or a file, as one line."""
    if sys.stdout is None or not sys.stdout.isatty():
        return [text]
    return wrap(text, terminal_width())


def print_result(*parts: Part) -> None:
    """Print tables and lines to stdout."""
    console = new_console(width=WIDTH)
    for part in parts:
        if isinstance(part, Cells):
            shown = Cells(part.columns, part.rows[:MOST_ROWS])
            console.print(shown_table(shown))
            if len(part.rows) > MOST_ROWS:
                print(f"and {len(part.rows) - MOST_ROWS:,} more rows")
        else:
            print(visible(part))


def print_json(data: dict[str, Any]) -> None:
    """Print a result to stdout as JSON."""
    print_plain(json_text(data))


def print_plain(text: str) -> None:
    """Print lines to stdout; foreign text in them has no line breaks of its own."""
    print("\n".join(map(visible, text.split("\n"))))


def print_notice(*lines: str) -> None:
    """Print a message to stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):  # nobody can be told that stderr is closed or full
            print(*map(visible, lines), sep="\n", file=sys.stderr, flush=True)


def new_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A rich console that finds nothing special in strings."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        width=width,
        height=None if width is None else HEIGHT,
        markup=False,
        emoji=False,
        highlight=False,
    )


def shown_text(text: str, style: str = "") -> Text:
    """A line for rich."""
    from rich.text import Text

    return Text(visible(text), style)


def shown_table(cells: Cells) -> Table:
    """A table for rich; if no column has a heading, it has no line of headings."""
    from rich.table import Table

    table = Table(box=None, show_header=any(cells.columns), pad_edge=False)
    for column in cells.columns:
        table.add_column(
            shown_text(column.removeprefix(">"), "bold"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells.rows:
        table.add_row(*map(shown_text, row))
    return table


@contextmanager
def written_out() -> Iterator[None]:
    """Run a command, and write all of stdout at the end.

    If stdout cannot be written, since its reader has gone or the disk is full, the
    command goes on and prints nothing more.

    Raises:
        OSError: stdout could not be written, and nothing worse happened.
    """
    stream = sys.stdout
    if stream is None:
        yield
        return
    sys.stdout = lasting = _Lasting(stream)
    try:
        yield
    except SystemExit:
        _restore(lasting)
        lasting.check()
        raise
    except BaseException:
        _restore(lasting)
        raise
    _restore(lasting)
    lasting.check()


class _Lasting:
    """A stream that swallows its first error and all that is written after it.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        if self.error is None:
            try:
                self.stream.write(text)
            except OSError as error:
                self.error = error
        return len(text)

    def flush(self) -> None:
        """Write what waits in the buffer, if that is possible."""
        if self.error is None:
            try:
                self.stream.flush()
            except OSError as error:
                self.error = error

    def check(self) -> None:
        """Raise the first error, if there is one."""
        if self.error is not None:
            raise self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _restore(lasting: _Lasting) -> None:
    """Give stdout back; a broken one is dropped, so that Python does not retry."""
    lasting.flush()
    sys.stdout = lasting.stream if lasting.error is None else None
