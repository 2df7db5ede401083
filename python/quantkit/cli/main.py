"""The command line: each command parses, calls one documented function, and prints.

Results go to stdout, progress and errors to stderr.  Exit code 0: done; 1: failed; 2:
wrong usage.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import QuantkitError
from ..tasks.demo import run_demo
from ..tasks.info import describe
from . import tables as report
from .console import print_json, print_result, progress_bar
from .convert import convert_command, convert_lora_command
from .imatrix import imatrix_command
from .naming import Commands
from .options import Chunks, Json, Quiet, Threads
from .ppl import ppl_command
from .quantize import quantize_command, verify_command

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What each GGUF quantization type costs on your model and your text, "
    "and that file.",
)


app.command("convert")(convert_command)
app.command("convert-lora")(convert_lora_command)
app.command("quantize")(quantize_command)
app.command("verify")(verify_command)
app.command("ppl")(ppl_command)
app.command("imatrix")(imatrix_command)


@app.command("info")
def info_command(
    model: Annotated[Path, typer.Argument(help="A GGUF file (any shard).")],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List the tensors.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a GGUF file holds."""
    facts = describe(model)
    if json:
        print_json(facts.to_dict())
    else:
        print_result(report.info_tables(facts, tensors=tensors))


@app.command("demo")
def demo_command(
    chunks: Chunks = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert, quantize and measure the embedded demo model."""
    with progress_bar(quiet) as progress:
        result = run_demo(chunks=chunks, threads=threads, progress=progress)
    if json:
        print_json(result.to_dict())
    else:
        print_result(report.comparison_table(result))


@app.command("backends")
def backends_command() -> None:
    """Show the instruction sets that are built in, and which one runs."""
    print_result(report.backends_table())


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"quantkit {__version__}")
        raise typer.Exit


@app.callback()
def _common(
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
    pass


def main() -> None:
    """Run the command line; errors meant for the user become one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # whose encoding may lack "±"
            stream.reconfigure(errors="replace")
    try:
        app()
    except QuantkitError as error:
        _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")


def _fail(message: str) -> None:
    print(f"quantkit: {message}", file=sys.stderr)
    sys.exit(1)
