"""The command `ppl` and its output formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..cells import Cells, markdown_table
from ..embeddings.comparing import prepare as prepare_embeddings
from ..errors import OutputError
from ..evaluate.comparing import prepare
from ..evaluate.entries import entry_named
from ..evaluate.saved import scores_beside
from ..files.json_file import json_text, without_nan
from ..files.whole_file import refuse_input, refuse_unwritable, write_whole
from ..inference.weights import DEFAULT_ACTIVATIONS
from ..output.splits import parse_size
from ..sources.opening import embeds, open_source
from ..tokens.options import TextOptions
from .bars import live_table
from .console import print_json, print_plain, print_result
from .measured import Measured, Measuring
from .messages import say
from .options import (
    Calibrate,
    CalibrationTokens,
    Chat,
    Chunks,
    Ctx,
    EffortOption,
    Importance,
    Json,
    Precision,
    Quiet,
    Threads,
    calibration_of,
    is_recipe,
    type_names,
    usage,
)
from .tables import comparison_parts

__all__ = ["ppl_command"]


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
            metavar="MODEL",
            help="GGUF files (any shard) or checkpoint folders with the same "
            "vocabulary.",
        ),
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option(
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line. "
            "Repeatable: shows a row for each text, and the average. \\[required]",
        ),
    ] = None,
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
    calibration: Calibrate = None,
    tokens: CalibrationTokens = None,
    effort: EffortOption = None,
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
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory-limit",
            parser=usage(parse_size),
            metavar="N(M|G)",
            help="Weights in memory at a time, in million (M) or billion (G) bytes; "
            "more models are measured in groups \\[default: half of what is free].",
        ),
    ] = None,
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

    Of models that give embeddings: how far each type moves those of the text's
    passages. Errors are one standard error over chunks or passages; --json also has
    llama.cpp's, over tokens.
    Ctrl-C stops the run and shows what has been measured.
    """
    _refuse_types(models, types)
    if not text:
        raise typer.BadParameter(
            "--text is missing: give a UTF-8 file to measure on, of the kind of text "
            f"that the model is used for: quantkit ppl {models[0]} --text eval.txt"
        )
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
    shared: dict[str, Any] = {
        "text": text,
        "base": base,
        "options": TextOptions(ctx, chunks, stride, chat),
        "activations": activations,
        "importance": importance,
        "threads": threads,
        "save": scores,
    }
    wanted = types.split(",") if types else []
    run: Measuring
    if embeds(open_source(models[0])):
        _refuse_of_embedders(calibrate=calibration, memory_limit=memory)
        run = prepare_embeddings(models, wanted, **shared)
    else:
        rounding = calibration_of(calibration, tokens, effort, chat=chat)
        run = prepare(models, wanted, calibration=rounding, memory=memory, **shared)
    others = [entry_named(run.known.entries, name).name for name in versus or ()]
    output = Output(format, pareto, tuple(others), save)
    try:
        with live_table(run, lambda: output.brief(run.glance()), quiet) as progress:
            run.run(progress, None if quiet else say)
    except KeyboardInterrupt:
        output.give(run.so_far())
        again = "; repeat the command to resume" if scores else ""
        done = f"measured {run.steps_done} of {run.n_steps} {run.unit}{again}"
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

    def give(self, result: Measured | None) -> None:
        """Print and save a comparison; do nothing if it is None."""
        if result is None:
            return
        differences = self._differences(result)
        pairs = [*result.gains(), *differences]
        data = result.to_dict()
        if differences:
            data["versus"] = [without_nan(asdict(d)) for d in differences]
        match self.format:
            case Format.JSON:
                print_json(data)
            case Format.CSV:
                print_plain(result.to_csv().rstrip("\n"))
            case Format.MARKDOWN:
                print_plain(markdown_table(result.cells(pareto=self.pareto)))
                if pairs:
                    shown = markdown_table(result.difference_cells(pairs))
                    print_plain(f"\n{shown}")
            case Format.TABLE:
                parts = comparison_parts(result, pareto=self.pareto)
                if pairs:
                    parts += ["", result.difference_cells(pairs)]
                print_result(*parts)
        if self.save is not None:
            write_whole(self.save, json_text(data) + "\n")

    def brief(self, result: Measured | None) -> Cells | None:
        """The table for the time of the run; None without a result."""
        return None if result is None else result.cells(pareto=self.pareto)

    def _differences(self, result: Measured) -> list[Any]:
        """Each measured row compared with each measured row of --versus."""
        measured = [row.name for row in result.rows]
        return [
            result.versus(name, other)
            for other in self.versus
            for name in measured
            if name != other and other in measured
        ]


def _refuse_of_embedders(**given: object) -> None:
    """Refuse options that have no effect on models that give embeddings."""
    for option, value in given.items():
        if value:
            raise typer.BadParameter(
                f"--{option.replace('_', '-')} is for models that predict text, and "
                "MODEL gives embeddings"
            )


def _refuse_types(models: Sequence[Path], types: str | None) -> None:
    """Explain types after --types that are separated by spaces."""
    given = [path.name for path in models if is_recipe(path.name) and not path.exists()]
    if given:
        wanted = ",".join([*(types.split(",") if types else ()), *given])
        raise typer.BadParameter(
            f"{given[0]} is a type and not a MODEL; types are separated by commas: "
            f"--types {wanted}"
        )


def _format(json: bool, csv: bool, markdown: bool) -> Format:
    if json + csv + markdown > 1:
        raise typer.BadParameter("choose one of --json, --csv and --markdown")
    if json:
        return Format.JSON
    if csv:
        return Format.CSV
    return Format.MARKDOWN if markdown else Format.TABLE
