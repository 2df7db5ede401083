"""Options and arguments that several commands share, and their parsers."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from .._device import parse_device
from ..calibrating.calibration import Calibration, Effort
from ..errors import QuantkitError, UnsupportedTypeError
from ..output.splits import parse_size
from ..recipes import Recipe
from ..tokens.options import TextOptions

__all__ = [
    "CALIBRATION",
    "FILES",
    "Activations",
    "AllowRequantize",
    "Calibrate",
    "CalibrationTokens",
    "Chat",
    "Chunks",
    "Ctx",
    "DeviceOption",
    "EffortOption",
    "Importance",
    "Json",
    "ModelArgument",
    "ModelDevice",
    "Precision",
    "Quiet",
    "Save",
    "SplitMaxBytes",
    "Threads",
    "calibration_files",
    "calibration_of",
    "is_recipe",
    "looks_like_type",
    "output_option",
    "recipe_name",
    "type_names",
    "usage",
]

Value = TypeVar("Value")

Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-t",
        min=1,
        help="Threads \\[default: one per core]. Results do not depend on it.",
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
AllowRequantize = Annotated[
    bool, typer.Option(help="Accept tensors that are already quantized.")
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
Precision = Literal["i16", "q8", "f32", "f16", "tf32"]
"""The precision of activations, for `--activations`."""
Activations = Annotated[
    Precision | None,
    typer.Option(
        "--activations",
        help="Precision of activations in products; see `quantkit ppl`.",
    ),
]
ModelDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="cpu|cuda|cuda:N",
        help="Where models run: on the processor, or on a CUDA device; cuda:0,1 or "
        "cuda:all share the chunks. `quantkit backends` lists devices.",
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        help="Write the JSON to a file, and the scores beside it, so that the command, "
        "if repeated, measures only what is missing.",
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A GGUF file (any shard), a checkpoint folder or hf://org/name.",
    ),
]


def output_option(help: str) -> Any:
    """`--output`, or `-o`: the file that a command writes."""
    return typer.Option("--output", "-o", metavar="FILE", help=help)


def usage(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """The parser with its errors as usage errors (exit code 2)."""

    @wraps(parse)
    def parsed(text: str) -> Value:
        try:
            return parse(text)
        except QuantkitError as error:
            raise typer.BadParameter(str(error)) from None

    return parsed


@usage
def _device_name(text: str) -> str:
    parse_device(text)
    return text


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        parser=_device_name,
        metavar="cpu|cuda|cuda:N",
        help="Where weights are quantized: on the processor, or on a CUDA device, see "
        "`quantkit backends`. The bytes are the same.",
    ),
]


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


LIKE_A_TYPE = re.compile(r"(I?Q|TQ|MXFP|NVFP|INT|BF|FP?)\d[\dA-Z_]*", re.IGNORECASE)


def looks_like_type(value: str) -> bool:
    """Whether somebody who writes this means a type, perhaps one that is mistyped."""
    return LIKE_A_TYPE.fullmatch(value) is not None


def type_names(value: str) -> str:
    """Check names separated by commas: recipes, recipe files (*.toml) or "all"."""
    names = [name.strip() for name in value.split(",")]
    return ",".join(map(_type_name, names))


def _type_name(name: str) -> str:
    is_other = name.lower() == "all" or is_recipe_file(name)
    return name if is_other else recipe_name(name)


def is_recipe_file(name: str) -> bool:
    """Whether a name of --types is that of a recipe file."""
    return name.lower().endswith(".toml")


def recipe_files(types: str) -> list[Path]:
    """The recipe files among the names of --types."""
    return [Path(name) for name in types.split(",") if is_recipe_file(name)]


CALIBRATION = "Calibrated rounding (docs/calibration.md)"
"""The heading of its options."""

BUILT_IN = Path("builtin")
"""What stands for the built-in mixture of texts."""

Calibrate = Annotated[
    list[Path] | None,
    typer.Option(
        "--calibrate",
        metavar="FILE|builtin",
        help="Round such that the outputs of each matrix stay close on this text: half "
        "the loss or less, at the same type and size. A UTF-8 file, or .jsonl as in "
        "`quantkit ppl`; builtin: a mixture that comes with quantkit. Repeatable.",
        rich_help_panel=CALIBRATION,
    ),
]
CalibrationTokens = Annotated[
    int | None,
    typer.Option(
        "--calibration-tokens",
        min=8,
        help="Tokens to run the model on, taken evenly from all texts "
        "\\[default: 131072].",
        rich_help_panel=CALIBRATION,
    ),
]
EffortOption = Annotated[
    Effort | None,
    typer.Option(
        help="fast: one pass of the unquantized model \\[default]. best: also corrects "
        "in each layer what the layers before it have lost; slower.",
        rich_help_panel=CALIBRATION,
    ),
]


def calibration_files(texts: list[Path]) -> list[Path]:
    """The files that --calibrate names; none for the built-in mixture.

    Raises:
        BadParameter: it names both.
    """
    files = [text for text in texts if text != BUILT_IN]
    if files and len(files) < len(texts):
        raise typer.BadParameter("--calibrate builtin cannot be combined with files")
    return files


def calibration_of(
    texts: list[Path] | None, tokens: int | None, effort: Effort | None, *, chat: bool
) -> Calibration | None:
    """The calibration that options ask for; None: there is none.

    Raises:
        BadParameter: an option has no effect, or options contradict each other.
    """
    if not texts:
        for option, value in {
            "--calibration-tokens": tokens,
            "--effort": effort,
        }.items():
            if value is not None:
                raise typer.BadParameter(f"{option} needs --calibrate")
        return None
    files = calibration_files(texts)
    return Calibration(
        files,
        Calibration.tokens if tokens is None else tokens,
        effort or Calibration.effort,
        TextOptions(chat=chat and bool(files)),
    )


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
