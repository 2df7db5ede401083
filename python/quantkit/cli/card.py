"""The command `card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..evaluate.saved import scores_beside
from ..files.json_file import json_text
from ..files.target import beside
from ..files.whole_file import refuse_input, refuse_unwritable, write_whole
from ..publishing.cards import ModelCard, model_card
from ..publishing.plot import PLOT
from ..quantities import counted
from ..tokens.options import DEFAULT, TextOptions
from .bars import progress_bar
from .commands import COMMANDS
from .console import print_json, print_plain, print_result
from .messages import say
from .naming import in_options
from .options import Chat, Chunks, Json, Quiet, Threads, output_option
from .texts import given_texts

__all__ = ["card_command"]


def card_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="GGUF files of one model (any shard)."),
    ],
    out: Annotated[
        Path | None,
        output_option(
            "Card to write, such as README.md, with a figure beside it \\[default: "
            "print it]."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The unquantized model: a GGUF file, a checkpoint folder or "
            "hf://org/name. The files are measured against it.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|wikitext2",
            help="Text to measure on, see `quantkit ppl`. Repeatable \\[default, with "
            "--base: a built-in text].",
        ),
    ] = None,
    chat: Chat = False,
    ctx: Annotated[
        int | None, typer.Option(min=4, help="Tokens per chunk \\[default: 512].")
    ] = None,
    chunks: Chunks = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME",
            help="The unquantized model on the Hub \\[default: as --base or the files "
            "say].",
        ),
    ] = None,
    quantized_by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who publishes the files.")
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME",
            help="Where the files will be on the Hub, for the commands that run them.",
        ),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write what is measured to a file, and the scores beside it; those of "
            "`quantkit ppl --save` are reused.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a Hugging Face model card for GGUF files.

    With --base, it says what each file costs and when to take it.
    """
    if base is None:
        idle = {"--text": text, "--save": save, "--chat": chat}
        for option, value in {**idle, "--ctx": ctx, "--chunks": chunks}.items():
            if value:
                raise typer.BadParameter(f"{option} needs --base")
    scores = None if save is None else scores_beside(save)
    inputs = {"FILE": files, "--text": text, "--base": _path(base)}
    if save is not None:
        refuse_input("--save", save, inputs)
        refuse_unwritable(save)
        inputs |= {"--save": save, "the scores": scores}
    if out is not None:
        refuse_input("--output", out, inputs)
        refuse_unwritable(out)
    if out is not None and save is not None:
        refuse_input("--save", save, {"the figure": beside(out, PLOT)})
    measuring: dict[str, Any] = {}
    if base is not None:
        texts = given_texts(text, chat=chat, quiet=quiet)
        options = TextOptions(ctx or DEFAULT.ctx, chunks, chat=chat)
        measuring = {"base": base, "text": texts, "options": options}
        measuring["save"] = scores
    with progress_bar(quiet) as progress:
        card = model_card(
            *(files, out),
            base_model=base_model,
            quantized_by=quantized_by,
            repo=repo,
            threads=threads,
            progress=progress,
            notify=None if quiet else _say,
            **measuring,
        )
    _show(card, out, save, json=json)


def _say(note: str) -> None:
    say(in_options(note, "card", COMMANDS))


def _path(base: str | None) -> Path | None:
    return None if base is None else Path(base)


def _show(card: ModelCard, out: Path | None, save: Path | None, *, json: bool) -> None:
    """Print and save what there is to print and save."""
    if save is not None and card.comparison is not None:
        write_whole(save, json_text(card.comparison.to_dict()) + "\n")
    if json:
        print_json(card.to_dict())
    elif out is None:
        print_plain(card.text.rstrip("\n"))
    else:
        print_result(f"{out}: the card of {counted(len(card.files), 'file')}")
