"""The command `modelfile`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..files.whole_file import refuse_input
from ..publishing.ollama import DEFAULT_CTX, modelfile, ollama_name
from .console import print_json, print_plain, print_result
from .messages import say
from .options import Json, Quiet, output_option

__all__ = ["modelfile_command"]


def modelfile_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A GGUF file (any shard).")
    ],
    out: Annotated[
        Path | None, output_option("Modelfile to write \\[default: print it].")
    ] = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Tokens of context \\[default: {DEFAULT_CTX}, or the model's if that "
            "is shorter].",
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The system message.")
    ] = None,
    template: Annotated[
        bool,
        typer.Option(
            help="Write the chat template as a Go template, or leave it to Ollama."
        ),
    ] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an Ollama Modelfile for a GGUF file.

    The Go template gives the same text as the model's chat template. If the chat
    template does more than write texts around messages, there is none, and the command
    says so.
    """
    if out is not None:
        refuse_input("--output", out, {"MODEL": model})
    made = modelfile(
        *(model, out),
        ctx=ctx,
        system=system,
        template=template,
        notify=None if quiet else say,
    )
    if json:
        print_json(made.to_dict())
    elif out is None:
        print_plain(made.text.rstrip("\n"))
    else:
        words = ["ollama", "create", ollama_name(model.name), "-f", str(out)]
        print_result(shlex.join(words))
