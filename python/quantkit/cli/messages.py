"""Messages on stderr, and how a command ends after an error or Ctrl-C."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from .console import print_notice

__all__ = [
    "STOPPED",
    "Notices",
    "fail",
    "fail_unforeseen",
    "say",
    "stoppable",
    "words_typed",
]

STOPPED = 130
"""The exit code of a command that Ctrl-C stopped, as in shells."""


def words_typed() -> list[str]:
    """The running command as it was typed, in words."""
    return ["quantkit", *sys.argv[1:]]


def say(text: str) -> None:
    """Print a message to stderr."""
    print_notice(f"quantkit: {text}")


def fail(message: str) -> NoReturn:
    """Print a message and end the process with exit code 1."""
    say(message)
    sys.exit(1)


def fail_unforeseen(error: Exception) -> NoReturn:
    """Print where a fault of quantkit is, and end the process with exit code 1."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
    print_notice(*lines)
    fail("this is a fault of quantkit; please report it with these lines")


class Notices(logging.Handler):
    """Shows the warnings of quantkit and of its libraries as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message on one line."""
        say(" ".join(record.getMessage().split()))


@contextmanager
def stoppable() -> Iterator[None]:
    """At Ctrl-C, print the interrupt's message and end with exit code 130."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        say(f"stopped; {stopped}" if str(stopped) else "stopped")
        raise typer.Exit(STOPPED) from None
