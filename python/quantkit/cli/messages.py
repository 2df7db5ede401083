"""Messages on stderr, and how a command ends after an error or Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

__all__ = ["STOPPED", "fail", "print_notice", "stoppable"]

STOPPED = 130
"""The exit code of a command that Ctrl-C stopped, as in shells."""


def print_notice(text: str) -> None:
    """Print a message to stderr."""
    print(f"quantkit: {text}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Print a message and end the process with exit code 1."""
    print_notice(message)
    sys.exit(1)


@contextmanager
def stoppable() -> Iterator[None]:
    """At Ctrl-C, print the interrupt's message and end with exit code 130."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        print_notice(f"stopped; {stopped}" if str(stopped) else "stopped")
        raise typer.Exit(STOPPED) from None
