"""The commands `info` and `backends`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..tasks.info import info
from .backend_tables import backends_dict, backends_tables
from .console import print_json, print_result
from .options import Json
from .tables import info_tables

__all__ = ["backends_command", "info_command"]


def info_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A GGUF file (any shard).")
    ],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List the tensors.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the contents of a GGUF file."""
    facts = info(model)
    if json:
        print_json(facts.to_dict())
    else:
        print_result(*info_tables(facts, tensors=tensors))


def backends_command(json: Json = False) -> None:
    """Show the built-in instruction sets and which one is active, and CUDA devices."""
    if json:
        print_json(backends_dict())
    else:
        print_result(*backends_tables())
