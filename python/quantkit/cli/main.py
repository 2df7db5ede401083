"""The command line: each command parses options, calls the library, prints the result.

Results go to stdout, progress and errors to stderr.  Exit codes: 0 success, 1 failure,
2 wrong usage, 3 the answer is no (nothing fits, or the checked file is
worse), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from .._version import __version__
from ..errors import QuantkitError
from .commands import HELP, CommandGroup
from .console import print_plain, written_out
from .messages import fail, fail_unforeseen

__all__ = ["app", "run"]

app = typer.Typer(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings=HELP,
    pretty_exceptions_enable=False,
    help="Convert models to GGUF, quantize them, and measure what each type costs.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_plain(f"quantkit {__version__}")
        raise typer.Exit


FIRST = """\
quantkit converts models to GGUF, quantizes them, and measures what types cost.
Three commands to try:

  quantkit demo
      measures seven types of a small model that comes with quantkit

  quantkit ppl MODEL --types Q8_0,Q4_K_M,Q2_K
      what these types cost on your model; add --text FILE for your text

  quantkit quantize MODEL --types Q8_0,Q4_K_M
      writes the files

MODEL is a GGUF file, a checkpoint folder or hf://org/name.
All commands: quantkit --help"""
"""What `quantkit` alone prints."""


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print_plain(FIRST)


def run() -> None:
    """Run the command line; quantkit's and OS errors become one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # its encoding may lack "±"
            stream.reconfigure(errors="replace")
    try:
        with written_out():
            app()
    except QuantkitError as error:
        fail(str(error))
    except BrokenPipeError:
        sys.exit(1)  # the reader of stdout, such as `head`, has seen enough
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except Exception as error:
        fail_unforeseen(error)
