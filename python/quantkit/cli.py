"""The command line: each command parses, calls one documented function, and prints.

Results go to stdout, progress and errors to stderr.  Exit code 0: done; 1: failed; 2:
wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import __version__, report
from .convert import OUTTYPES, convert
from .demo import run_demo
from .errors import QuantkitError, UnsupportedTypeError
from .evaluate import Comparison, compare
from .imatrix import read_imatrix
from .info import describe
from .progress import Progress as Report
from .quantize_model import quantize_file
from .recipes import RECIPES, Recipe

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What each GGUF quantization type costs on your model and your text, "
    "and that file.",
)


def _recipe_name(value: str) -> str:
    try:
        return Recipe.parse(value).name
    except UnsupportedTypeError as error:
        raise typer.BadParameter(str(error)) from None


def _recipe_names(value: str) -> str:
    return ",".join(_recipe_name(name.strip()) for name in value.split(","))


def _outtype(value: str) -> str:
    if value.lower() not in OUTTYPES:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(OUTTYPES)}")
    return value.lower()


Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads [default: one per core]. Results do not depend on it."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Imatrix = Annotated[
    Path | None,
    typer.Option(help="Importance matrix from llama-imatrix (GGUF or .dat)."),
]
Chunks = Annotated[
    int | None, typer.Option(min=1, help="Chunks to evaluate [default: all].")
]
ModelArgument = Annotated[
    Path, typer.Argument(help="A GGUF file (any shard) or a checkpoint folder.")
]


@app.command("convert")
def convert_command(
    model_dir: Annotated[
        Path, typer.Argument(help="A Hugging Face checkpoint folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="GGUF file to write.")],
    outtype: Annotated[
        str, typer.Option(callback=_outtype, help=f"One of {', '.join(OUTTYPES)}.")
    ] = "auto",
    pre_tokenizer: Annotated[
        str | None,
        typer.Option(
            help="llama.cpp's name of the pre-tokenizer [default: recognized]."
        ),
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Convert a checkpoint folder to a GGUF file."""
    with _progress(quiet) as progress:
        convert(
            model_dir,
            output,
            outtype=outtype,
            pre_tokenizer=pre_tokenizer,
            threads=threads,
            progress=progress,
        )
    print(f"{output}: {report.size(output.stat().st_size)}")


@app.command("quantize")
def quantize_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Argument(help="GGUF file to write.")],
    type: Annotated[
        str,
        typer.Argument(callback=_recipe_name, help=f"One of {', '.join(RECIPES)}."),
    ],
    imatrix: Imatrix = None,
    allow_requantize: Annotated[
        bool, typer.Option(help="Accept tensors that are quantized already.")
    ] = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Quantize a GGUF file or a checkpoint folder into a GGUF file."""
    with _progress(quiet) as progress:
        result = quantize_file(
            model,
            output,
            type,
            importance=read_imatrix(imatrix) if imatrix else None,
            allow_requantize=allow_requantize,
            threads=threads,
            progress=progress,
        )
    _print(report.quantize_summary(result))


@app.command("ppl")
def ppl_command(
    model: ModelArgument,
    text: Annotated[Path, typer.Option(help="A UTF-8 text file.")],
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and _recipe_names(v),
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
    with _progress(quiet) as progress:
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
        _print_json(facts.to_dict())
    else:
        _print(report.info_tables(facts, tensors=tensors))


@app.command("demo")
def demo_command(
    chunks: Chunks = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert, quantize and measure the embedded demo model."""
    with _progress(quiet) as progress:
        result = run_demo(chunks=chunks, threads=threads, progress=progress)
    _print_comparison(result, json)


@app.command("backends")
def backends_command() -> None:
    """Show the instruction sets that are built in, and which one runs."""
    _print(report.backends_table())


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


def _print(what: RenderableType) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # nothing wraps or is cut in a file or a pipe
    console.print(what)


def _print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, indent=2))


def _print_comparison(result: Comparison, as_json: bool) -> None:
    if as_json:
        _print_json(result.to_dict())
    else:
        _print(report.comparison_table(result))


@contextmanager
def _progress(quiet: bool) -> Iterator[Report | None]:
    """A bar on stderr that shows the stage, the share done and the time left."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")

        def show(stage: str, done: int, total: int) -> None:
            if done == 0 or total != bar.tasks[0].total:
                bar.reset(task, total=total)
            bar.update(task, description=stage, completed=done)

        yield show


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
