"""The commands `convert` and `convert-lora`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from ..tasks.convert import OUTTYPES, ConvertReport, convert
from ..tasks.convert_lora import convert_lora
from ..vocab import VocabType
from . import tables
from .bars import progress_bar
from .clusters import on_cluster
from .console import print_json, print_result
from .messages import say
from .options import (
    Calibrate,
    CalibrationTokens,
    Chat,
    DeviceOption,
    EffortOption,
    Importance,
    Json,
    Quiet,
    SplitMaxBytes,
    Threads,
    calibration_of,
    output_option,
    recipe_name,
)

__all__ = ["convert_command", "convert_lora_command"]

VOCAB_TYPES = get_args(VocabType)


def _outtype(value: str) -> str:
    return value.lower() if value.lower() in OUTTYPES else recipe_name(value)


def _plain_outtype(value: str) -> str:
    if value.lower() not in OUTTYPES:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(OUTTYPES)}")
    return value.lower()


def _vocab_type(value: str) -> str:
    if value not in VOCAB_TYPES:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(VOCAB_TYPES)}")
    return value


Output = Annotated[
    Path | None,
    output_option("GGUF file to write \\[default: FOLDER-OUTTYPE.gguf]."),
]
Outtype = Annotated[
    str,
    typer.Option(
        callback=_outtype,
        help=f"Type of matrices: {', '.join(OUTTYPES)}, or any type of `quantize`.",
    ),
]


@on_cluster
def convert_command(
    model_dir: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A Hugging Face checkpoint folder, or hf://org/name.",
        ),
    ],
    out: Output = None,
    outtype: Outtype = "auto",
    importance: Importance = None,
    calibration: Calibrate = None,
    tokens: CalibrationTokens = None,
    effort: EffortOption = None,
    chat: Chat = False,
    pre_tokenizer: Annotated[
        str | None,
        typer.Option(
            "--pre",
            "--pre-tokenizer",
            help="llama.cpp's name of the pre-tokenizer \\[default: detected].",
        ),
    ] = None,
    vocab_type: Annotated[
        str,
        typer.Option(
            callback=_vocab_type,
            help=f"Tokenizer file to read: one of {', '.join(VOCAB_TYPES)}.",
        ),
    ] = "auto",
    pad_vocab: Annotated[
        bool,
        typer.Option(
            "--pad-vocab",
            help="Pad the vocabulary to the model's vocab_size.",
        ),
    ] = False,
    metadata_file: Annotated[
        Path | None,
        typer.Option(
            "--metadata",
            metavar="FILE.json",
            help="general.* keys that replace those from the folder.",
        ),
    ] = None,
    target_model: Annotated[
        Path | None,
        typer.Option(
            "--target-model-dir",
            metavar="FOLDER",
            help="Of a draft model: the model that it drafts for.",
        ),
    ] = None,
    tensors_only: Annotated[
        bool,
        typer.Option(
            "--tensors-only",
            help="Write the tensors under their checkpoint names, for models that "
            "llama.cpp does not know.",
        ),
    ] = False,
    mmproj: Annotated[
        bool,
        typer.Option(
            "--mmproj",
            help="Write the vision encoder of a multimodal model, which llama.cpp "
            "loads beside the text model.",
        ),
    ] = False,
    symmetric_q4_0: Annotated[
        bool,
        typer.Option(
            "--symmetric-q4_0",
            help="Store 4-bit symmetric weights in groups of 32 as Q4_0, without loss.",
        ),
    ] = False,
    affine_q4_1: Annotated[
        bool,
        typer.Option(
            "--affine-q4_1",
            help="Store 4-bit weights of MLX as Q4_1, without loss.",
        ),
    ] = False,
    dense_modules: Annotated[
        bool,
        typer.Option(
            "--dense-modules",
            help="Include the linear maps after the pooling of EmbeddingGemma.",
        ),
    ] = False,
    keep_nvfp4: Annotated[
        bool,
        typer.Option(
            "--keep-nvfp4",
            help="Keep the codes of NVFP4 checkpoints, with factors beside them.",
        ),
    ] = False,
    split_max_bytes: SplitMaxBytes = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing; list the tensors and the size."),
    ] = False,
    device: DeviceOption = "cpu",
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a checkpoint folder to a GGUF file."""
    if chat and not calibration:
        raise typer.BadParameter("--chat needs --calibrate")
    calibrated = calibration_of(calibration, tokens, effort, chat=chat)
    target = out or _default_output(model_dir, outtype, "mmproj-" if mmproj else "")
    with progress_bar(quiet, in_bytes=True) as progress:
        result = convert(
            model_dir,
            target,
            outtype,
            importance=importance,
            calibration=calibrated,
            pre_tokenizer=pre_tokenizer,
            vocab_type=cast(VocabType, vocab_type),
            pad_vocab=pad_vocab,
            metadata_file=metadata_file,
            target_model=target_model,
            tensors_only=tensors_only,
            mmproj=mmproj,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
            keep_nvfp4=keep_nvfp4,
            split_max_bytes=split_max_bytes,
            dry_run=dry_run,
            device=device,
            threads=threads,
            progress=progress,
            notify=None if quiet else say,
        )
    _give(result, json)


def convert_lora_command(
    adapter: Annotated[
        Path,
        typer.Argument(
            metavar="ADAPTER", help="Folder of a PEFT adapter in safetensors."
        ),
    ],
    base: Annotated[
        Path,
        typer.Option(help="Folder of the base model; config.json is enough."),
    ],
    out: Output = None,
    outtype: Annotated[
        str,
        typer.Option(
            callback=_plain_outtype,
            help=f"Type of matrices: one of {', '.join(OUTTYPES)}.",
        ),
    ] = "f32",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a LoRA adapter to a GGUF file that llama.cpp loads beside the model."""
    target = out or _default_output(adapter, outtype)
    with progress_bar(quiet, in_bytes=True) as progress:
        result = convert_lora(adapter, base, target, outtype, progress=progress)
    _give(result, json)


def _give(result: ConvertReport, json: bool) -> None:
    if json:
        print_json(result.to_dict())
    else:
        print_result(*tables.convert_summary(result))


def _default_output(folder: Path, outtype: str, prefix: str = "") -> Path:
    """A file in the current folder, named after the checkpoint's folder."""
    return Path(f"{prefix}{folder.resolve().name}-{outtype}.gguf")
