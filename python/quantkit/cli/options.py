"""Options and arguments that several commands share, and their parsers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from ..errors import QuantkitError, UnsupportedTypeError
from ..output.splits import parse_size
from ..recipes import Recipe

__all__ = [
    "FILES",
    "Chat",
    "Chunks",
    "Ctx",
    "Importance",
    "Json",
    "ModelArgument",
    "Precision",
    "Quiet",
    "SplitMaxBytes",
    "Threads",
    "is_recipe",
    "recipe_name",
    "type_names",
    "usage",
]

Value = TypeVar("Value")

Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads \\[default: one per core]. Results do not depend on it."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Importance = Annotated[
    Path | None,
    typer.Option(
        "--imatrix", help="Importance matrix (GGUF or .dat), see `quantkit imatrix`."
    ),
]
Chunks = Annotated[
    int | None, typer.Option(min=1, help="Chunks to evaluate \\[default: all].")
]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Texts are .jsonl files of conversations: the field `messages` of "
        "each line, rendered with the model's chat template.",
    ),
]
Ctx = Annotated[int, typer.Option(min=4, help="Tokens per chunk.")]
Precision = Literal["i16", "q8", "f32"]
"""The precision of activations, for `--activations`."""
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A GGUF file (any shard), a checkpoint folder or hf://org/name.",
    ),
]


def usage(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """The parser with its errors as usage errors (exit code 2)."""

    @wraps(parse)
    def parsed(text: str) -> Value:
        try:
            return parse(text)
        except QuantkitError as error:
            raise typer.BadParameter(str(error)) from None

    return parsed


def recipe_name(value: str) -> str:
    """The name of a recipe, as spelled in the table of recipes."""
    try:
        return Recipe.parse(value).name
    except UnsupportedTypeError as error:
        raise typer.BadParameter(str(error)) from None


def is_recipe(value: str) -> bool:
    """Whether this is the name of a recipe."""
    try:
        return bool(Recipe.parse(value))
    except UnsupportedTypeError:
        return False


def type_names(value: str) -> str:
    """Check names separated by commas: recipes, recipe files (*.toml) or "all"."""
    names = [name.strip() for name in value.split(",")]
    return ",".join(map(_type_name, names))


def _type_name(name: str) -> str:
    is_other = name.lower() == "all" or name.lower().endswith(".toml")
    return name if is_other else recipe_name(name)


FILES = "Files and reports"
"""The heading of options about output files."""

SplitMaxBytes = Annotated[
    int | None,
    typer.Option(
        "--split-max-size",
        parser=usage(parse_size),
        metavar="N(M|G)",
        help="Write several files, each with at most this many million (M) or billion "
        "(G) bytes of tensors.",
        rich_help_panel=FILES,
    ),
]
