"""The command line: each command parses, calls one documented function, and prints.

Results go to stdout, progress and errors to stderr.  Exit code 0: done; 1: failed; 2:
wrong usage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import __version__, report
from .console import print_json, print_result, progress_bar
from .convert_command import convert_command, convert_lora_command
from .demo import run_demo
from .errors import QuantkitError
from .evaluate import Comparison, compare
from .imatrix import read_imatrix
from .info import describe
from .options import (
    Chunks,
    Imatrix,
    Json,
    ModelArgument,
    Quiet,
    Threads,
    recipe_names,
)
from .quantize_command import quantize_command, verify_command

__all__ = ["app", "main"]

app = typer.Typer(
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


@app.command("ppl")
def ppl_command(
    model: ModelArgument,
    text: Annotated[Path, typer.Option(help="A UTF-8 text file.")],
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and recipe_names(v),
            help="Types to compare with the model as it is, such as Q8_0,Q4_K_M.",
        ),
    ] = None,
    ctx: Annotated[int, typer.Option(min=4, help="Tokens per chunk.")] = 512,
    chunks: Chunks = None,
    imatrix: Imatrix = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity of a model, and what each type costs."""
    with progress_bar(quiet) as progress:
        result = compare(
            model,
            text,
            types.split(",") if types else [],
            ctx=ctx,
            chunks=chunks,
            importance=read_imatrix(imatrix) if imatrix else None,
            threads=threads,
            progress=progress,
        )
    _print_comparison(result, json)


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
    _print_comparison(result, json)


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


def _print_comparison(result: Comparison, as_json: bool) -> None:
    if as_json:
        print_json(result.to_dict())
    else:
        print_result(report.comparison_table(result))


def main() -> None:
    """Run the command line; errors meant for the user become one line on stderr."""
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


if __name__ == "__main__":
    main()
