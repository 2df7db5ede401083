"""Sentences on stderr, and how a command ends that cannot go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

__all__ = ["STOPPED", "fail", "print_notice", "stoppable"]

STOPPED = 130
"""What shells have as the exit code of a command that Ctrl-C stopped."""


def print_notice(text: str) -> None:
    """Print a sentence about the work to stderr."""
    print(f"quantkit: {text}", file=sys.stderr)


def fail(message: str) -> NoReturn:
    """End the process: the command cannot do what was asked for."""
    print_notice(message)
    sys.exit(1)


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C ends the command with what the interrupted work says about it."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        print_notice(f"stopped; {stopped}" if str(stopped) else "stopped")
        raise typer.Exit(STOPPED) from None
