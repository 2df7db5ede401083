"""The command `ppl` and its output formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..cells import Cells
from ..embeddings.comparing import detailed as detailed_embeddings
from ..embeddings.comparing import prepare as prepare_embeddings
from ..errors import OptionError, OutputError
from ..evaluate.comparing import detailed, prepare, prepare_across, share_vocabulary
from ..evaluate.entries import entry_named
from ..evaluate.places import Share
from ..evaluate.presentation import COLUMNS, refuse_unknown
from ..evaluate.saved import scores_beside
from ..files.target import target_of
from ..files.whole_file import refuse_input, refuse_unwritable
from ..output.splits import parse_size
from ..sources.opening import embeds, open_source
from ..tokens.options import TextOptions
from .bars import live_table
from .clusters import on_cluster
from .measured import Measuring
from .measured_output import Format, Output
from .messages import say
from .options import (
    AllowRequantize,
    Calibrate,
    CalibrationTokens,
    Chat,
    Chunks,
    Ctx,
    EffortOption,
    Importance,
    Json,
    ModelDevice,
    Precision,
    Quiet,
    Save,
    Threads,
    calibration_of,
    is_recipe,
    recipe_files,
    type_names,
    usage,
)
from .reports import Html, Png, Reports
from .shards import check_merge, check_shard, measure_shard, merge_files, parse_shard
from .texts import given_texts

__all__ = ["ppl_command"]


@on_cluster
def ppl_command(
    context: typer.Context,
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL",
            help="GGUF files (any shard) or checkpoint folders. With different "
            "vocabularies they are compared by bits per byte. With --merge, the files "
            "of all shards.",
        ),
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|wikitext2",
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line; "
            "hf://datasets/org/name/file; or wikitext2. Repeatable: shows a row for "
            "each text, and the average \\[default: a built-in text].",
        ),
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: None if v is None else type_names(v),
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
        Literal[Precision, "both"] | None,
        typer.Option(
            help="Precision of activations in products with quantized weights: i16, "
            "with negligible error \\[default on the processor]; q8, 8 bits as in "
            "llama.cpp's CPU path; f32; or both: i16, and q8 in additional rows. On a "
            "device also f16 \\[default there] and tf32.",
        ),
    ] = None,
    device: ModelDevice = "cpu",
    allow_requantize: AllowRequantize = False,
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
    sort: Annotated[
        Literal["size", "kld", "ppl", "name"] | None,
        typer.Option(help="Order of the rows after the base \\[default: as given]."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: None if v is None else _columns(v),
            metavar="LIST|all",
            help=f"Columns of the table, of {', '.join(COLUMNS)} \\[default: those "
            "that fit the terminal].",
        ),
    ] = None,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Mark the types on the Pareto front of size and KLD.",
        ),
    ] = False,
    save: Save = None,
    shard: Annotated[
        Share | None,
        typer.Option(
            parser=usage(parse_shard),
            metavar="N/COUNT",
            help="Measure only every COUNT-th chunk, from the N-th on, and --save the "
            "scores in a file, for --merge: for jobs on several machines.",
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Put shards together: the arguments are the files of all of them. "
            "Models and texts are not read.",
        ),
    ] = False,
    html: Html = None,
    png: Png = None,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity of models, and what each type costs.

    Of models that give embeddings: how far each type moves those of the text's
    passages. Errors are one standard error over chunks or passages; --json also has
    llama.cpp's, over tokens.
    Ctrl-C stops the run and shows what has been measured.
    """
    _refuse_types(models, types)
    if merge:
        check_merge(context)
    elif shard is not None:
        check_shard(context)
    text = [] if merge else given_texts(text, chat=chat, quiet=quiet)
    format = Format.of(json=json, csv=csv, markdown=markdown)
    if csv and versus:
        raise typer.BadParameter("--csv has a line per type; --versus needs --json")
    inputs = {
        "MODEL": models,
        "--imatrix": importance,
        "--text": text,
        "--calibrate": calibration,
        "--types": recipe_files(types or ""),
    }
    if save is not None:
        refuse_input("--save", save, inputs)
        refuse_unwritable(save)
    reports = Reports(html, png)
    reports.check(inputs, save)
    scores = None if save is None else scores_beside(save)

    def cells(found: Any) -> Cells:
        names = columns and columns.split(",")
        table: Cells = found.cells(pareto=pareto, sort=sort, columns=names)
        return table

    hint = " (--columns all)" if columns is None else None
    if merge:
        merged = merge_files(models, scores)
        others = _named(merged.rows, versus)
        Output(format, cells, hint, others, save).give(merged)
        reports.save(merged)
        return
    if shard is not None and save is not None:
        scores = target_of(save).path
    shared: dict[str, Any] = {
        "text": text,
        "base": base,
        "options": TextOptions(ctx, chunks, stride, chat),
        "activations": activations,
        "device": device,
        "importance": importance,
        "allow_requantize": allow_requantize,
        "threads": threads,
        "save": scores,
    }
    rounding = calibration_of(calibration, tokens, effort, chat=chat)
    wanted = types.split(",") if types else []
    run: Measuring
    detail: Callable[..., Any] = detailed
    given: dict[str, object]
    if embeds(open_source(models[0])):
        given = {
            "--calibrate": calibration,
            "--memory-limit": memory,
            "--sort": sort,
            "--columns": columns,
            "--shard": shard,
        }
        _refuse(given, "is for models that predict text, and MODEL gives embeddings")
        detail = detailed_embeddings
        hint, cells = "", lambda found: found.cells(pareto=pareto)
        run = prepare_embeddings(models, wanted, **shared)
    elif len(models) > 1 and not share_vocabulary(models):
        given = {
            "--base": base,
            "--versus": versus,
            "--pareto": pareto,
            "--columns": columns,
            "--calibrate": calibration,
            "--imatrix": importance,
            "--html": html,
            "--png": png,
            "--shard": shard,
            f"--sort {sort}": sort in ("kld", "ppl"),
        }
        _refuse(
            given,
            "is for models with the same vocabulary; those of these models differ, so "
            "they are compared by bits per byte",
        )
        hint, cells = "", lambda found: found.cells(sort=sort)
        del shared["base"]
        run = prepare_across(models, wanted, memory=memory, **shared)
    else:
        run = prepare(models, wanted, calibration=rounding, memory=memory, **shared)
        if shard is not None and save is not None:
            return measure_shard(run, shard, save, quiet=quiet)
    output = Output(format, cells, hint, _named(run.known.entries, versus), save)
    try:
        with live_table(run, lambda: output.brief(run.glance()), quiet) as progress:
            result = run.run(progress, None if quiet else say)
            if reports.need_details:
                result = detail(result, run, text, progress)
    except KeyboardInterrupt:
        found = run.so_far()
        output.give(found)
        reports.save(found)
        again = "; repeat the command to resume" if scores else ""
        done = f"measured {run.steps_done} of {run.n_steps} {run.unit}{again}"
        raise KeyboardInterrupt(done) from None
    except OutputError:
        replace(output, save=None).give(run.so_far())
        raise
    output.give(result)
    reports.save(result)


def _named(rows: Sequence[Any], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The names of rows, as the table spells them."""
    return tuple(entry_named(rows, name).name for name in wanted or ())


def _refuse(given: Mapping[str, object], reason: str) -> None:
    """Refuse options that have no effect or no meaning, if they are given."""
    for option, value in given.items():
        if value:
            raise typer.BadParameter(f"{option} {reason}")


def _columns(value: str) -> str:
    """Check names of columns; all of them for "all"."""
    names = list(COLUMNS) if value.lower() == "all" else value.lower().split(",")
    try:
        refuse_unknown("columns", names, COLUMNS)
    except OptionError as error:
        raise typer.BadParameter(str(error)) from None
    return ",".join(names)


def _refuse_types(models: Sequence[Path], types: str | None) -> None:
    """Explain types after --types that are separated by spaces."""
    given = [path.name for path in models if is_recipe(path.name) and not path.exists()]
    if given:
        wanted = ",".join([*(types.split(",") if types else ()), *given])
        raise typer.BadParameter(
            f"{given[0]} is a type and not a MODEL; types are separated by commas: "
            f"--types {wanted}"
        )
