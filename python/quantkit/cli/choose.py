"""The command `choose`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..calibrating.calibration import Calibration, Effort
from ..choosing import Budget, Candidate, Choice, parse_bytes, parse_share
from ..choosing.choosing import DEFAULT_OPTIONS, choose_by, detailed_choice
from ..choosing.contest import FEWEST
from ..choosing.mixed import refuse_without_size, split_off, with_mix
from ..choosing.presentation import memory_cells
from ..evaluate.comparing import prepare
from ..evaluate.run import ComparisonRun
from ..evaluate.saved import scores_beside
from ..files.json_file import json_text
from ..files.target import target_of
from ..files.whole_file import refuse_input, refuse_unwritable, write_whole
from ..quantities import bytes_as_text
from ..recipes.files import chosen_recipe
from ..recipes.overrides import Overrides
from ..tasks.convert import convert
from ..tasks.quantize import quantize_file
from .bars import live_table, progress_bar
from .clusters import on_cluster
from .console import Part, paragraph, print_json, print_result
from .messages import say
from .options import (
    Activations,
    Calibrate,
    CalibrationTokens,
    Chat,
    EffortOption,
    Importance,
    Json,
    ModelArgument,
    ModelDevice,
    Quiet,
    Save,
    Threads,
    calibration_of,
    is_recipe_file,
    output_option,
    recipe_files,
    type_names,
    usage,
)
from .reports import Html, Png, Reports
from .texts import given_texts

__all__ = ["choose_command"]

NONE_FITS = 3
"""The exit code if no candidate keeps the limits."""
LIMITS = "Limits (several can be combined)"


@on_cluster
def choose_command(
    model: ModelArgument,
    max_size: Annotated[
        int | None,
        typer.Option(
            parser=usage(parse_bytes),
            metavar="SIZE",
            help="Largest file, such as 4.5G (10^9 bytes) or 4GiB.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            parser=usage(parse_bytes),
            metavar="SIZE",
            help="Memory for weights, context and buffers, such as 8G "
            "\\[default, if no limit is given: that of this machine].",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--ctx",
            min=1,
            help="Tokens of context that --memory must suffice for \\[default: 4096].",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_kld: Annotated[
        float | None,
        typer.Option(
            help="Largest mean KL divergence from the unquantized model.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_ppl_loss: Annotated[
        float | None,
        typer.Option(
            parser=usage(parse_share),
            metavar="SHARE",
            help="How much the perplexity may grow, such as 1%.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_bpw: Annotated[
        float | None,
        typer.Option(
            "--bpw", help="Most bits per weight, such as 4.5.", rich_help_panel=LIMITS
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|wikitext2",
            help="A UTF-8 text file of the kind that the model is used for; see "
            "`quantkit ppl`. Repeatable \\[default: a built-in text].",
        ),
    ] = None,
    types: Annotated[
        str,
        typer.Option(
            callback=type_names,
            metavar="LIST|all",
            help="The candidates, such as Q8_0,Q4_K_M, or recipe files (.toml).",
        ),
    ] = "all",
    mix: Annotated[
        bool,
        typer.Option(
            "--mix",
            help="Also plan a mix of types, in which each tensor gets its own, and "
            "take it if it loses less. Its recipe is written beside the file. Takes "
            "about as long again.",
        ),
    ] = False,
    out: Annotated[Path | None, output_option("Write the chosen file at once.")] = None,
    importance: Importance = None,
    calibration: Calibrate = None,
    tokens: CalibrationTokens = None,
    effort: EffortOption = None,
    chat: Chat = False,
    chunks: Annotated[
        int,
        typer.Option(min=FEWEST, help="Chunks to measure the last candidates on."),
    ] = DEFAULT_OPTIONS.chunks or 1,
    ctx: Annotated[
        int, typer.Option("--chunk-size", min=4, help="Tokens per chunk.")
    ] = DEFAULT_OPTIONS.ctx,
    activations: Activations = None,
    device: ModelDevice = "cpu",
    threads: Threads = None,
    json: Json = False,
    save: Save = None,
    html: Html = None,
    png: Png = None,
    quiet: Quiet = False,
) -> None:
    """Choose the type for a size, a memory or a loss, and say why.

    Candidates that cannot win any more are measured on few chunks only. Exit code 3: no
    candidate keeps the limits.
    """
    if context is not None and memory is None:
        raise typer.BadParameter("--ctx needs --memory")
    budget = Budget(max_size, memory, context, max_bpw, max_kld, max_ppl_loss)
    if mix:
        refuse_without_size(budget)
    calibrated = calibration_of(calibration, tokens, effort, chat=chat)
    texts = given_texts(text, chat=chat, quiet=quiet)
    inputs = {
        "MODEL": model,
        "--imatrix": importance,
        "--text": texts,
        "--calibrate": calibration,
        "--types": recipe_files(types),
    }
    maker = Maker(model, importance, calibration or [], tokens, effort, chat)
    if out is not None:
        target_of(out)  # a model is not written to a device or FIFO
    recipe = maker.recipe_file(out) if mix else None
    outputs = {"--save": save, "--output": out, "the recipe of the mix": recipe}
    for option, path in outputs.items():
        if path is not None:
            refuse_input(option, path, inputs)
            refuse_unwritable(path)
            inputs[option] = path
    reports = Reports(html, png)
    reports.check(inputs)
    run = prepare(
        model,
        types.split(","),
        text=texts,
        options=replace(DEFAULT_OPTIONS, ctx=ctx, chunks=chunks, chat=chat),
        activations=activations,
        device=device,
        importance=importance,
        calibration=calibrated,
        threads=threads,
        save=None if save is None else scores_beside(save),
    )
    choice = _answer(run, budget, mix=mix, quiet=quiet)
    if reports.need_details:
        with progress_bar(quiet) as progress:
            choice = detailed_choice(choice, run, texts, progress)
    if recipe is not None and choice.mix is not None and choice.mix.is_chosen:
        write_whole(recipe, choice.mix.to_toml())
    command = maker.command(choice, out)
    data = {**choice.to_dict(), "command": command} if json or save else {}
    if json:
        print_json(data)
    else:
        print_result(*_parts(choice, command))
    if save is not None:
        write_whole(save, json_text(data) + "\n")
    reports.save(choice)
    if choice.chosen is None:
        raise typer.Exit(NONE_FITS)
    if out is not None:
        how = {"threads": threads, "notify": None if quiet else say}
        with progress_bar(quiet, in_bytes=True) as progress:
            written = maker.make(choice, out, calibrated, progress=progress, **how)
        if not json:
            print_result(written)


def _answer(run: ComparisonRun, budget: Budget, *, mix: bool, quiet: bool) -> Choice:
    """The answer, with a mix as a candidate if it is wanted."""
    notify, chunks = None if quiet else say, None
    if mix:
        run.known, chunks = split_off(run.known)
    with live_table(run, lambda: None, quiet) as progress:
        choice = choose_by(run, budget, progress, notify)
    if chunks is None:
        return choice
    with progress_bar(quiet) as progress:
        return with_mix(run, choice, chunks, progress)


def _parts(choice: Choice, command: str | None) -> list[Part]:
    """The answer, the evidence, and how to make the file."""
    memory = memory_cells(choice)
    parts: list[Part] = [*paragraph(choice.sentence), "", choice.cells()]
    if choice.comparison is not None:
        parts.append("\u00b1 is one standard error over chunks")
    if memory is not None:
        parts += ["", memory]
    return parts if command is None else [*parts, "", command]


@dataclass(frozen=True)
class Maker:
    """Makes the file of a chosen type.

    Attributes:
        model: the unquantized model.
        importance, calibration, tokens, effort, chat: the options of `quantize`.
    """

    model: Path
    importance: Path | None
    calibration: Sequence[Path]
    tokens: int | None
    effort: Effort | None
    chat: bool

    def command(self, choice: Choice, out: Path | None) -> str | None:
        """The command that makes the file; None: there is nothing to make."""
        if choice.chosen is None:
            return None
        recipe, name = self._recipe(choice, out), str(out or self._name(choice.chosen))
        if recipe is None:
            words = ["quantkit", "convert", self._given, "-o", name]
            return None if self.model.is_file() else shlex.join(words)
        words = ["quantkit", "quantize", self._given, name]
        words += ["--recipe", recipe] if is_recipe_file(recipe) else [recipe]
        options: dict[str, Sequence[object]] = {
            "--imatrix": [self._importance(choice.chosen)],
            "--calibrate": self.calibration,
            "--calibration-tokens": [self.tokens],
            "--effort": [self.effort],
        }
        for option, values in options.items():
            for value in values:
                words += [] if value is None else [option, str(value)]
        if self.chat and self.calibration:
            words.append("--chat")
        if _is_mix(choice):
            words.append("--provenance")
        return shlex.join(words)

    def make(
        self, choice: Choice, out: Path, calibration: Calibration | None, **how: Any
    ) -> str:
        """Write the file; says what was written.

        Args:
            choice: with a chosen candidate.
            out: the file.
            calibration: what `calibration` and the options beside it ask for.
            how: `threads`, `progress` and `notify`, see `quantize_file`.
        """
        assert choice.chosen is not None
        recipe = self._recipe(choice, out)
        if recipe is None and self.model.is_file():
            return (
                f"{out} is not written: {self.model} fits as it is; use it, or copy it"
            )
        if recipe is None:
            convert(self.model, out, **how)
        else:
            name, file = (None, recipe) if is_recipe_file(recipe) else (recipe, None)
            base, overrides = chosen_recipe(name, Overrides(), file)
            quantize_file(
                *(self.model, out, base),
                overrides=overrides,
                importance=self._importance(choice.chosen),
                calibration=calibration,
                provenance=_is_mix(choice),
                **how,
            )
        return f"{out}: {choice.chosen.name}, {bytes_as_text(out.stat().st_size)}"

    def recipe_file(self, out: Path | None) -> Path:
        """The recipe file of a mix, beside the file that is made of it."""
        return (out or Path(f"{self._stem}-mix.gguf")).with_suffix(".toml")

    def _recipe(self, choice: Choice, out: Path | None) -> str | None:
        """The name or the file of the chosen recipe; None: the model as it is."""
        if _is_mix(choice):
            return str(self.recipe_file(out))
        return None if choice.chosen is None else choice.chosen.recipe

    def _importance(self, candidate: Candidate) -> Path | None:
        """The matrix, if the type uses it: its metadata would make the file larger."""
        return self.importance if candidate.uses_importance else None

    @property
    def _given(self) -> str:
        """The model as it was given: a Path has one slash fewer in hf://org/name."""
        return re.sub("^hf:/(?!/)", "hf://", str(self.model))

    def _name(self, candidate: Candidate) -> str:
        """A file name: that of the model, and the type."""
        return f"{self._stem}-{candidate.name.replace(' ', '-')}.gguf"

    @property
    def _stem(self) -> str:
        """The name of the model."""
        return self.model.absolute().name.removesuffix(".gguf")


def _is_mix(choice: Choice) -> bool:
    """Whether the answer is a mix of types."""
    return choice.mix is not None and choice.mix.is_chosen
