"""The command `ppl`, its live table and its output formats."""

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
            help="GGUF files (any shard) or checkpoint folders with the same "
            "vocabulary.",
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line. "
            "Repeatable: shows a row for each text, and the average.",
        ),
    ],
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and type_names(v),
            metavar="LIST|all",
            help="Types to compare, such as Q8_0,Q4_K_M, or recipe files (.toml). Each "
            "MODEL that is not quantized yet is quantized to them in memory.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Row to compare the others with \\[default: the first MODEL].",
        ),
    ] = None,
    versus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare every row also with this one, paired, with p-values. "
            "Repeatable.",
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
            help="Use overlapping windows of --ctx tokens, one every STRIDE tokens. "
            "Score the last STRIDE tokens of each, after at least ctx - STRIDE others.",
        ),
    ] = None,
    activations: Annotated[
        Literal[Precision, "both"],
        typer.Option(
            help="Precision of activations in products: i16, with negligible error; "
            "q8, 8 bits as in llama.cpp's CPU path; f32; or both: i16, and q8 in "
            "additional rows.",
        ),
    ] = DEFAULT_ACTIVATIONS,
    threads: Threads = None,
    json: Json = False,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Print all values as CSV."),
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print a Markdown table."),
    ] = False,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Mark the types on the Pareto front of size and KLD.",
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write the JSON to a file, and the scores beside it, so that the "
            "command, if repeated, measures only what is missing.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity of models, and what each type costs.

    Errors are one standard error over chunks; --json also has llama.cpp's, over tokens.
    Ctrl-C stops the run and shows what has been measured.
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
    scores = None if save is None else scores_beside(save)
    run = prepare(
        models,
        types.split(",") if types else [],
        text=text,
        base=base,
        options=TextOptions(ctx, chunks, stride, chat),
        activations=activations,
        importance=importance,
        threads=threads,
        save=scores,
    )
    others = [entry_named(run.known.entries, name).name for name in versus or ()]
    output = Output(format, pareto, tuple(others), save)
    try:
        with _live_table(run, output, quiet) as progress:
            run.run(progress)
    except KeyboardInterrupt:
        output.give(run.so_far())
        again = "; repeat the command to resume" if scores else ""
        done = f"measured {run.steps_done} of {run.n_steps} chunks{again}"
        raise KeyboardInterrupt(done) from None
    except OutputError:
        replace(output, save=None).give(run.so_far())
        raise
    output.give(run.so_far())


@dataclass(frozen=True)
class Output:
    """Prints and saves a comparison.

    Attributes:
        format: the output format.
        pareto: mark the types on the Pareto front.
        versus: the rows that every row is also compared with.
        save: the JSON file to write; None: none.
    """

    format: Format
    pareto: bool
    versus: tuple[str, ...]
    save: Path | None

    def give(self, result: Comparison | None) -> None:
        """Print and save a comparison; do nothing if it is None."""
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
        """The comparison and the paired differences as tables."""
        parts: list[RenderableType] = [
            tables.comparison_table(result, pareto=self.pareto)
        ]
        if differences:
            parts += [Text(), tables.cells_table(versus_cells(differences))]
        return Group(*parts)

    def brief(self, result: Comparison | None, width: int) -> RenderableType:
        """The first columns, as many as fit in `width`; empty without a result."""
        if result is None:
            return ""
        cells = result.cells(pareto=self.pareto)
        return tables.cells_table(cells.narrowed(width))

    def _differences(self, result: Comparison) -> list[PairedDifference]:
        """Each measured row compared with each measured row of --versus."""
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
    """A table on stderr, updated with every chunk, and a progress bar.

    Nothing is shown if stderr is not a terminal.
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
