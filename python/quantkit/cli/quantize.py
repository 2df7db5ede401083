"""The commands `quantize` and `verify`."""

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
from ..tasks.calibration import CalibrationCheck
from ..tasks.quantize import quantize_file
from ..tasks.verify import verify_file
from ..types import QuantType
from . import tables
from .bars import progress_bar
from .clusters import on_cluster
from .console import print_json, print_result
from .messages import say
from .options import (
    CALIBRATION,
    FILES,
    AllowRequantize,
    Calibrate,
    CalibrationTokens,
    Chat,
    DeviceOption,
    EffortOption,
    Importance,
    Json,
    ModelArgument,
    Quiet,
    SplitMaxBytes,
    Threads,
    calibration_files,
    calibration_of,
    is_recipe,
    looks_like_type,
    recipe_name,
    type_names,
    usage,
)
from .quantize_many import Many, default_output

__all__ = ["quantize_command", "verify_command"]

CalibrationTexts = Annotated[
    list[Path] | None,
    typer.Option(
        "--calibrate",
        metavar="FILE|builtin",
        help="A text that the file was calibrated on. Repeatable; in any order, and "
        "the built-in ones need not be given, if the file records it (--provenance).",
        rich_help_panel=CALIBRATION,
    ),
]

TYPES, MODEL = "Types", "Metadata and layers"

WORSE = 3
"""The exit code if the check of a calibrated file finds it worse."""


@usage
def _tensor_type(text: str) -> TensorType:
    return TensorType.parse(text)


@usage
def _type(text: str) -> QuantType:
    return QuantType.parse(text)


@on_cluster
def quantize_command(
    model: ModelArgument,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUT",
            help="GGUF file to write \\[default: ggml-model-TYPE.gguf beside a GGUF "
            "MODEL, as llama-quantize does; MODEL-TYPE.gguf here for a checkpoint].",
        ),
    ] = None,
    type: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE",
            help=f"One of {', '.join(RECIPES)}. Optional with --recipe or "
            "--recipe-from.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="OUTPUT; with --types a pattern with {type} and {name} \\[default: "
            "{name}-{type}.gguf].",
        ),
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: None if v is None else type_names(v),
            metavar="LIST|all",
            help="Write a file of each of these types, such as Q8_0,Q4_K_M, in one "
            "pass over MODEL, and SHA256SUMS.",
        ),
    ] = None,
    importance: Importance = None,
    missing_importance: Annotated[
        MissingImportance,
        typer.Option(
            "--missing-imatrix",
            case_sensitive=False,
            help="For tensors whose type needs importance that the matrix lacks: "
            "refuse, before any work, or fallback to the next better type.",
        ),
    ] = MissingImportance.REFUSE,
    calibration: Calibrate = None,
    tokens: CalibrationTokens = None,
    effort: EffortOption = None,
    chat: Chat = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Measure the KL divergence of the file and of plain rounding on text "
            "that calibration did not sum. Exit code 3 if the file is worse.",
            rich_help_panel=CALIBRATION,
        ),
    ] = False,
    allow_requantize: AllowRequantize = False,
    tensor_types: Annotated[
        list[TensorType] | None,
        typer.Option(
            "--tensor-type",
            parser=_tensor_type,
            metavar="REGEX=TYPE",
            help="Type of the tensors whose name contains a match, in any case. "
            "Repeatable; the first match decides.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    pure: Annotated[
        bool,
        typer.Option(
            "--pure",
            help="Use TYPE's base type for all tensors, without better types for some.",
            rich_help_panel=TYPES,
        ),
    ] = False,
    output_tensor_type: Annotated[
        QuantType | None,
        typer.Option(
            parser=_type,
            metavar="TYPE",
            help="Type of output.weight, or of the embedding if they are tied.",
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
            help="Keep the type of output.weight.",
            rich_help_panel=TYPES,
        ),
    ] = False,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Recipe in a TOML file: base, tensor_types = [{ pattern, type }], "
            "pure, output_tensor_type, token_embedding_type, leave_output_tensor. "
            "TYPE overrides its base; --tensor-type comes before its patterns.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    recipe_from: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER.gguf",
            help="Give each tensor its type in another GGUF file.",
            rich_help_panel=TYPES,
        ),
    ] = None,
    override_kv: Annotated[
        list[str] | None,
        typer.Option(
            callback=lambda v: [usage(parse_field)(each) and each for each in v or ()],
            metavar="KEY=TYPE:VALUE",
            help="Set metadata; TYPE is int, float, bool or str. Repeatable.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    prune_layers: Annotated[
        str | None,
        typer.Option(
            callback=lambda v: v and usage(parse_layers)(v) and v,
            metavar="N,N,...",
            help="Remove layers, counted from 0; later layers are renumbered.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    keep_split: Annotated[
        bool,
        typer.Option(
            "--keep-split",
            help="Write as many files as the model has: OUTPUT-00001-of-0000N.gguf.",
            rich_help_panel=FILES,
        ),
    ] = False,
    split_max_bytes: SplitMaxBytes = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing; show each tensor's type, bytes and reason, and the "
            "size of the file. Fails if the real run would.",
            rich_help_panel=FILES,
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Measure the RMSE (with --imatrix also weighted), SNR, cosine and "
            "largest error of each tensor, and write them to a file.",
            rich_help_panel=FILES,
        ),
    ] = None,
    provenance: Annotated[
        bool,
        typer.Option(
            "--provenance",
            help="Record the recipe and the hashes of the inputs in the metadata "
            "(quantkit.*), for `quantkit verify`. Without it, files are byte for byte "
            "llama-quantize's.",
            rich_help_panel=FILES,
        ),
    ] = False,
    device: DeviceOption = "cpu",
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Quantize a GGUF file or a checkpoint folder into a GGUF file."""
    if types:
        many = Many(model, types, output, positional=[out, type])
        many.refuse(
            **{
                "--calibrate": calibration,
                "--calibration-tokens": tokens,
                "--effort": effort,
                "--chat": chat,
                "--check": check,
                "--tensor-type": tensor_types,
                "--pure": pure,
                "--output-tensor-type": output_tensor_type,
                "--token-embedding-type": token_embedding_type,
                "--leave-output-tensor": leave_output_tensor,
                "--recipe": recipe,
                "--recipe-from": recipe_from,
                "--keep-split": keep_split,
                "--split-max-size": split_max_bytes,
                "--report": report,
            }
        )
        many.make(
            edits=_edits(override_kv, prune_layers),
            importance=importance,
            missing_importance=missing_importance,
            allow_requantize=allow_requantize,
            provenance=provenance,
            dry_run=dry_run,
            device=device,
            threads=threads,
            json=json,
            quiet=quiet,
        )
        return
    has_recipe = bool(recipe or recipe_from)
    out, type = _file_and_type(model, out, type, output, has_recipe=has_recipe)
    own = Overrides(
        tuple(tensor_types or ()),
        pure,
        output_tensor_type,
        token_embedding_type,
        leave_output_tensor,
    )
    for option, is_given in {"--chat": chat, "--check": check}.items():
        if is_given and not calibration:
            raise typer.BadParameter(f"{option} needs --calibrate")
    calibrated = calibration_of(calibration, tokens, effort, chat=chat)
    base, overrides = chosen_recipe(type, own, recipe, recipe_from)
    recipes = {"--recipe": recipe, "--recipe-from": recipe_from}
    refuse_input("OUTPUT", out, recipes)
    if report is not None:
        inputs = {
            **recipes,
            "MODEL": model,
            "OUTPUT": out,
            "--imatrix": importance,
            "--calibrate": calibration,
        }
        refuse_input("--report", report, inputs)
        refuse_unwritable(report)
    with progress_bar(quiet, in_bytes=True) as progress:
        result = quantize_file(
            model,
            out,
            base,
            overrides=overrides,
            edits=_edits(override_kv, prune_layers),
            importance=importance,
            calibration=calibrated,
            check=check,
            missing_importance=missing_importance,
            allow_requantize=allow_requantize,
            keep_split=keep_split,
            split_max_bytes=split_max_bytes,
            measure=report is not None,
            provenance=provenance,
            dry_run=dry_run,
            device=device,
            threads=threads,
            progress=progress,
            notify=None if quiet else say,
        )
    if report is not None:
        result.write_json(report)
    if json:
        print_json(result.to_dict())
    else:
        print_result(*tables.quantize_summary(result))
    if result.check is not None:
        _judge(result.check)


def _judge(check: CalibrationCheck) -> None:
    """Say what a check found wrong; ends the command if the divergence is larger."""
    if check.is_worse:
        say(
            "the calibrated file is worse than plain rounding on the held-out text; "
            "calibrate on more text, or on text of another kind, or leave it out"
        )
        raise typer.Exit(WORSE)
    if check.is_ppl_worse:
        say(
            "the perplexity of the calibrated file on the held-out text is higher than "
            f"that of plain rounding ({tables.ppl_change(check)}), though its KL "
            "divergence is lower"
        )


def _edits(override_kv: list[str] | None, prune_layers: str | None) -> Edits:
    return Edits(
        dict(map(parse_field, override_kv or ())),
        parse_layers(prune_layers) if prune_layers else frozenset(),
    )


def _file_and_type(
    model: Path,
    out: Path | None,
    type: str | None,
    output: str | None,
    *,
    has_recipe: bool,
) -> tuple[Path, str | None]:
    """OUTPUT, and the name of TYPE's recipe; explains arguments in a wrong order."""
    if out is not None and type is None and not has_recipe:
        if is_recipe(str(out)):  # quantize MODEL TYPE
            name = recipe_name(str(out))
            return Path(output) if output else default_output(model, name), name
        if looks_like_type(str(out)):
            recipe_name(str(out))  # which it is not, so this suggests others
        raise typer.BadParameter("Missing argument 'TYPE' (or --recipe, --recipe-from)")
    if out is not None and output is not None:
        raise typer.BadParameter(f"OUTPUT is given twice: {out} and -o {output}")
    file = Path(output) if output else out
    if file is None:
        raise typer.BadParameter(
            "Missing arguments 'OUTPUT' and 'TYPE' (or --types, to write several files)"
        )
    if type is None:
        return file, None
    given = [str(model), str(file), type]
    types = [each for each in given if is_recipe(each)]
    if len(types) == 1 and types != [type] and not Path(types[0]).exists():
        files = [each for each in given if each != types[0]]
        raise typer.BadParameter(
            "the order is MODEL OUTPUT TYPE: quantkit quantize "
            + " ".join([*files, *types])
        )
    return file, recipe_name(type)


def verify_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A quantized GGUF file (any shard).")
    ],
    source: Annotated[
        Path, typer.Option(help="Its source: a GGUF file or a checkpoint folder.")
    ],
    importance: Importance = None,
    calibration_texts: CalibrationTexts = None,
    tokens: CalibrationTokens = None,
    effort: EffortOption = None,
    chat: Chat = False,
    device: DeviceOption = "cpu",
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Quantize a file's source again, and check that the result is the same.

    The recipe is the one recorded in the file (--provenance), or else that of its
    general.file_type.  Exit code 0: equal; 1: different.
    """
    if chat and not calibration_texts:
        raise typer.BadParameter("--chat needs --calibrate")
    calibration = calibration_of(calibration_texts, tokens, effort, chat=chat)
    is_described = bool(tokens or effort or chat)
    texts = calibration_files(calibration_texts) if calibration_texts else None
    with progress_bar(quiet) as progress:
        result = verify_file(
            model,
            source,
            importance=importance,
            calibration=calibration if is_described else None,
            calibration_texts=None if is_described else texts,
            device=device,
            threads=threads,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        print_result(*tables.verification_lines(result))
    raise typer.Exit(0 if result.is_equal else 1)
