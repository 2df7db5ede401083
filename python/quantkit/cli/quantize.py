"""The commands `quantize` and `verify`: options to parameters, results to tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files.whole_file import refuse_input, refuse_unwritable
from ..recipes import RECIPES
from ..recipes.files import chosen_recipe
from ..recipes.overrides import Overrides, TensorType
from ..recipes.planning import MissingImportance
from ..sources.edits import Edits, parse_field, parse_layers
from ..tasks.quantize import quantize_file
from ..tasks.verify import verify_file
from ..types import QuantType
from . import tables
from .console import print_json, print_result, progress_bar
from .messages import print_notice
from .options import (
    FILES,
    Importance,
    Json,
    ModelArgument,
    Quiet,
    SplitMaxBytes,
    Threads,
    recipe_name,
    usage,
)

__all__ = ["quantize_command", "verify_command"]

TYPES, MODEL = "Types", "Metadata and layers"


@usage
def _tensor_type(text: str) -> TensorType:
    return TensorType.parse(text)


@usage
def _type(text: str) -> QuantType:
    return QuantType.parse(text)


def quantize_command(
    model: ModelArgument,
    out: Annotated[Path, typer.Argument(metavar="OUTPUT", help="GGUF file to write.")],
    type: Annotated[
        str | None,
        typer.Argument(
            callback=lambda v: v and recipe_name(v),
            help=f"One of {', '.join(RECIPES)}. May be left out with --recipe and "
            "--recipe-from.",
        ),
    ] = None,
    importance: Importance = None,
    missing_importance: Annotated[
        MissingImportance,
        typer.Option(
            "--missing-imatrix",
            case_sensitive=False,
            help="What becomes of tensors that the importance matrix lacks and whose "
            "type needs it: refuse, before any work, or fallback to the next better "
            "type.",
        ),
    ] = MissingImportance.REFUSE,
    allow_requantize: Annotated[
        bool, typer.Option(help="Accept tensors that are quantized already.")
    ] = False,
    tensor_types: Annotated[
        list[TensorType] | None,
        typer.Option(
            "--tensor-type",
            parser=_tensor_type,
            metavar="REGEX=TYPE",
            help="Type of the tensors whose name matches (any case, anywhere in it). "
            "Repeat for more; the first that matches decides.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    pure: Annotated[
        bool,
        typer.Option(
            "--pure",
            help="TYPE's base type for all tensors, no better ones for some.",
            rich_help_panel=TYPES,
        ),
    ] = False,
    output_tensor_type: Annotated[
        QuantType | None,
        typer.Option(
            parser=_type,
            metavar="TYPE",
            help="Type of output.weight, or of the embedding that stands for it.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    token_embedding_type: Annotated[
        QuantType | None,
        typer.Option(
            parser=_type,
            metavar="TYPE",
            help="Type of the token embedding.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    leave_output_tensor: Annotated[
        bool,
        typer.Option(
            "--leave-output-tensor",
            help="output.weight keeps its type.",
            rich_help_panel=TYPES,
        ),
    ] = False,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Recipe in a TOML file: base, tensor_types = [{ pattern, type }], "
            "pure, output_tensor_type, token_embedding_type, leave_output_tensor. "
            "TYPE replaces its base; --tensor-type goes before its patterns.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    recipe_from: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER.gguf",
            help="Give each tensor the type it has in another GGUF file.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    override_kv: Annotated[
        list[str] | None,
        typer.Option(
            callback=lambda v: [usage(parse_field)(each) and each for each in v or ()],
            metavar="KEY=TYPE:VALUE",
            help="Set metadata; TYPE is int, float, bool or str. Repeat for more.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    prune_layers: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and usage(parse_layers)(v) and v,
            metavar="N,N,...",
            help="Take out layers, counted from 0; those after them move up.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    keep_split: Annotated[
        bool,
        typer.Option(
            "--keep-split",
            help="As many files as the model has: OUTPUT-00001-of-0000N.gguf.",
            rich_help_panel=FILES,
        ),
    ] = False,
    split_max_bytes: SplitMaxBytes = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing; show each tensor's type, its bytes and why, and the "
            "size of the file. Refuses what the real run refuses.",
            rich_help_panel=FILES,
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Measure RMSE, SNR, cosine and largest error of each tensor (weighted "
            "by importance too, if there is one), and write them to a file.",
            rich_help_panel=FILES,
        ),
    ] = None,
    provenance: Annotated[
        bool,
        typer.Option(
            "--provenance",
            help="Keep the recipe and the hashes of the inputs in the metadata "
            "(quantkit.*), for `quantkit verify`. Off by default, since files are "
            "byte for byte llama-quantize's without them.",
            rich_help_panel=FILES,
        ),
    ] = False,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Quantize a GGUF file or a checkpoint folder into a GGUF file."""
    own = Overrides(
        tuple(tensor_types or ()),
        pure,
        output_tensor_type,
        token_embedding_type,
        leave_output_tensor,
    )
    if type is None and recipe is None and recipe_from is None:
        raise typer.BadParameter("Missing argument 'TYPE' (or --recipe, --recipe-from)")
    base, overrides = chosen_recipe(type, own, recipe, recipe_from)
    if report is not None:
        others = {"MODEL": model, "OUTPUT": out, "--imatrix": importance}
        refuse_input("--report", report, {**others, "--recipe": recipe})
        refuse_unwritable(report)
    with progress_bar(quiet, in_bytes=True) as progress:
        result = quantize_file(
            model,
            out,
            base,
            overrides=overrides,
            edits=Edits(
                dict(map(parse_field, override_kv or ())),
                parse_layers(prune_layers) if prune_layers else frozenset(),
            ),
            importance=importance,
            missing_importance=missing_importance,
            allow_requantize=allow_requantize,
            keep_split=keep_split,
            split_max_bytes=split_max_bytes,
            measure=report is not None,
            provenance=provenance,
            dry_run=dry_run,
            threads=threads,
            progress=progress,
            notify=None if quiet else print_notice,
        )
    if report is not None:
        result.write_json(report)
    if json:
        print_json(result.to_dict())
    else:
        print_result(tables.quantize_summary(result))


def verify_command(
    model: Annotated[Path, typer.Argument(help="A quantized GGUF file (any shard).")],
    source: Annotated[
        Path, typer.Option(help="What it was made from: a GGUF file or a checkpoint.")
    ],
    importance: Importance = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Quantize again, and say whether a file is what its recipe makes of its source.

    The recipe is the one that the file holds (--provenance), or else that of its
    general.file_type.  Exit code 0: equal; 1: not.
    """
    with progress_bar(quiet) as progress:
        result = verify_file(
            model, source, importance=importance, threads=threads, progress=progress
        )
    if json:
        print_json(result.to_dict())
    else:
        print_result(tables.verification_lines(result))
    raise typer.Exit(0 if result.is_equal else 1)
