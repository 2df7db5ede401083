"""The command `ppl`: options to parameters, a live table, and the ways to print it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from json import dumps
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ..cells import markdown_table
from ..errors import OutputError
from ..evaluate import Comparison, PairedDifference
from ..evaluate.comparing import prepare
from ..evaluate.entries import entry_named
from ..evaluate.presentation import versus_cells
from ..evaluate.results import without_nan
from ..evaluate.run import ComparisonRun
from ..evaluate.saved import scores_beside
from ..files.whole_file import refuse_input, refuse_unwritable, write_whole
from ..inference.weights import DEFAULT_ACTIVATIONS
from ..progress import Progress
from ..tokens.options import TextOptions
from . import tables
from .console import print_json, print_result
from .options import (
    Chat,
    Chunks,
    Ctx,
    Importance,
    Json,
    Precision,
    Quiet,
    Threads,
    type_names,
)

__all__ = ["ppl_command"]

REFRESH_SECONDS = 0.5


class Format(Enum):
    """How a comparison is printed."""

    TABLE = "a table"
    JSON = "--json"
    CSV = "--csv"
    MARKDOWN = "--markdown"


def ppl_command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="GGUF files (any shard) or checkpoint folders. They must have one "
            "vocabulary.",
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line. "
            "Repeat for more: a row for each, and their average.",
        ),
    ],
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and type_names(v),
            metavar="LIST|all",
            help="Types to compare, such as Q8_0,Q4_K_M or recipe files (.toml): made "
            "in memory of each MODEL that is not quantized yet.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The row that others are compared with \\[default: the first MODEL].",
        ),
    ] = None,
    versus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare every row with this one too, paired, with p-values. Repeat "
            "for more.",
        ),
    ] = None,
    importance: Importance = None,
    chat: Chat = False,
    ctx: Ctx = 512,
    chunks: Chunks = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Overlapping windows of --ctx tokens, one every so many tokens; the "
            "last of each are scored, each given at least ctx - stride others.",
        ),
    ] = None,
    activations: Annotated[
        Literal[Precision, "both"],
        typer.Option(
            help="How exactly activations are held: i16, exact for this purpose; q8, 8 "
            "bits as llama.cpp's CPU path has them; f32; or both: i16, and q8 in rows "
            "of their own.",
        ),
    ] = DEFAULT_ACTIVATIONS,
    threads: Threads = None,
    json: Json = False,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Print all figures as CSV."),
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print a Markdown table."),
    ] = False,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Mark the types that no other beats in both size and KLD.",
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write the JSON to a file, and beside it what goes on from there: the "
            "same command later measures only what is missing.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity of models, and what each type costs.

    Errors take chunks as independent, not tokens; --json has llama.cpp's too.  Ctrl-C
    ends it and shows what has been measured.
    """
    format = _format(json, csv, markdown)
    if csv and versus:
        raise typer.BadParameter("--csv has a line per type; --versus needs --json")
    if save is not None:
        for path in models:
            refuse_input("--save", save, {"MODEL": path, "--imatrix": importance})
        for path in text:
            refuse_input("--save", save, {"--text": path})
        refuse_unwritable(save)
    run = prepare(
        models,
        types.split(",") if types else [],
        text=text,
        base=base,
        options=TextOptions(ctx, chunks, stride, chat),
        activations=activations,
        importance=importance,
        threads=threads,
        save=save and scores_beside(save),
    )
    others = [entry_named(run.known.entries, name).name for name in versus or ()]
    output = Output(format, pareto, tuple(others), save)
    try:
        with _live_table(run, output, quiet) as progress:
            run.run(progress)
    except KeyboardInterrupt:
        output.give(run.so_far())
        again = "; the same command goes on from here" if save else ""
        done = f"measured {run.steps_done} of {run.n_steps} chunks{again}"
        raise KeyboardInterrupt(done) from None
    except OutputError:
        replace(output, save=None).give(run.so_far())
        raise
    output.give(run.so_far())


@dataclass(frozen=True)
class Output:
    """What becomes of a comparison.

    Attributes:
        format: how it is printed.
        pareto: mark the types that no other beats.
        versus: the rows that every row is compared with.
        save: where it is written as JSON; None: nowhere.
    """

    format: Format
    pareto: bool
    versus: tuple[str, ...]
    save: Path | None

    def give(self, result: Comparison | None) -> None:
        """Print a comparison and write it; None if nothing is known yet."""
        if result is None:
            return
        differences, gains = self._differences(result), result.imatrix_gains()
        data = result.to_dict()
        if differences:
            data["versus"] = [without_nan(asdict(d)) for d in differences]
        match self.format:
            case Format.JSON:
                print_json(data)
            case Format.CSV:
                print(result.to_csv(), end="")
            case Format.MARKDOWN:
                print(markdown_table(result.cells(pareto=self.pareto)))
                if gains or differences:
                    print("\n" + markdown_table(versus_cells([*gains, *differences])))
            case Format.TABLE:
                print_result(self.table(result, [*gains, *differences]))
        if self.save is not None:
            write_whole(self.save, dumps(data, indent=2) + "\n")

    def table(
        self, result: Comparison, differences: Sequence[PairedDifference] = ()
    ) -> RenderableType:
        """The tables for people."""
        parts: list[RenderableType] = [
            tables.comparison_table(result, pareto=self.pareto)
        ]
        if differences:
            parts += [Text(), tables.cells_table(versus_cells(differences))]
        return Group(*parts)

    def brief(self, result: Comparison | None, width: int) -> RenderableType:
        """As many columns as there is place for; nothing if nothing is known yet."""
        if result is None:
            return ""
        cells = result.cells(pareto=self.pareto)
        return tables.cells_table(cells.narrowed(width))

    def _differences(self, result: Comparison) -> list[PairedDifference]:
        """Each row against those of --versus, as far as both are measured."""
        measured = [row.name for row in result.rows]
        return [
            result.versus(name, other)
            for other in self.versus
            for name in measured
            if name != other and other in measured
        ]


def _format(json: bool, csv: bool, markdown: bool) -> Format:
    if json + csv + markdown > 1:
        raise typer.BadParameter("choose one of --json, --csv and --markdown")
    if json:
        return Format.JSON
    if csv:
        return Format.CSV
    return Format.MARKDOWN if markdown else Format.TABLE


@contextmanager
def _live_table(
    run: ComparisonRun, output: Output, quiet: bool
) -> Iterator[Progress | None]:
    """A table on stderr that gets finer with every chunk, and a bar of what is left.

    Nothing is shown where stderr is no terminal.
    """
    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        yield None
        return
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} chunks"),
        TimeRemainingColumn(),
    )
    task = bar.add_task("", total=run.n_steps)
    shown = -REFRESH_SECONDS
    with Live(bar, console=console, transient=True) as live:

        def show(stage: str, done: int, total: int) -> None:
            nonlocal shown
            bar.update(task, description=stage, completed=run.steps_done)
            if monotonic() - shown >= REFRESH_SECONDS:
                result = run.so_far()
                live.update(Group(output.brief(result, console.width), bar))
                shown = monotonic()

        yield show
