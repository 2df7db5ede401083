"""Convert checkpoints to GGUF files of any type in one step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from .._device import parse_device
from ..calibrating.calibration import Calibration, refuse_idle_calibration
from ..display import Displayed
from ..errors import OptionError
from ..execution.workers import Workers
from ..gguf.layout import TensorSpec
from ..importance.given import ImportanceLike
from ..notebook import shows_progress
from ..output.splits import by_size, parts_of
from ..output.writing import refuse_to_overwrite, write_parts
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from ..recipes import Recipe
from ..recipes.mixes import RecipeLike
from ..sources.checkpoint import OUTTYPES, CheckpointSource, TensorsOnlySource
from ..sources.projector import ProjectorSource
from ..vocab import VocabType
from .quantize import quantize_file

__all__ = ["OUTTYPES", "ConvertReport", "convert"]

Source = CheckpointSource | ProjectorSource | TensorsOnlySource


@dataclass(frozen=True)
class ConvertReport(Displayed):
    """What was written, or would be written.

    Attributes:
        paths: the files, in order.
        tensors: names, shapes and types, in file order.
        size_bytes: of all files together.
        is_dry_run: nothing was written.
    """

    paths: tuple[Path, ...]
    tensors: tuple[TensorSpec, ...]
    size_bytes: int
    is_dry_run: bool

    @property
    def path(self) -> Path:
        """The file; of several, the first."""
        return self.paths[0]

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict for JSON."""
        return {
            "files": [str(path) for path in self.paths],
            "size_bytes": self.size_bytes,
            "tensors": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "type": tensor.type.name,
                    "bytes": tensor.n_bytes,
                }
                for tensor in self.tensors
            ],
        }


@shows_progress
def convert(
    model_dir: StrPath,
    out: StrPath,
    outtype: RecipeLike = "auto",
    *,
    pre_tokenizer: str | None = None,
    vocab_type: VocabType = "auto",
    pad_vocab: bool = False,
    metadata_file: StrPath | None = None,
    target_model: StrPath | None = None,
    tensors_only: bool = False,
    mmproj: bool = False,
    symmetric_q4_0: bool = False,
    affine_q4_1: bool = False,
    dense_modules: bool = False,
    keep_nvfp4: bool = False,
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    split_max_bytes: int | None = None,
    dry_run: bool = False,
    device: str = "cpu",
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> ConvertReport:
    """Convert a Hugging Face checkpoint folder to a GGUF file.

    Args:
        model_dir: contains config.json, *.safetensors and the tokenizer's files.
        out: the file to write; it appears under this name when it is complete.
        outtype: type of matrices: one of `OUTTYPES`, with vectors in F32; or a recipe
            such as "Q4_K_M", as in `quantize_file`.
        pre_tokenizer: llama.cpp's name of the pre-tokenizer; None: detect it.
        vocab_type: which tokenizer file to read: "spm" tokenizer.model, "bpe" and "hf"
            tokenizer.json, "auto" the same as llama.cpp.
        pad_vocab: pad the vocabulary to the model's vocab_size with unused tokens.
        metadata_file: JSON whose `general.*` keys replace those from the folder.
        target_model: the folder of the model that a draft model drafts for, which has
            the vocabulary.
        tensors_only: write the tensors under their checkpoint names, for models that
            llama.cpp does not know.
        mmproj: write the vision encoder and projector of a multimodal model, which
            llama.cpp loads beside the text model.
        symmetric_q4_0: store 4-bit symmetric weights in groups of 32 as Q4_0, without
            loss.
        affine_q4_1: store 4-bit weights of MLX as Q4_1, without loss.
        dense_modules: include the linear maps after the pooling of EmbeddingGemma,
            which its embeddings need.
        keep_nvfp4: keep the codes of NVFP4 checkpoints, and write their factors as
            tensors beside them.
        importance: of the weights, if `outtype` is a recipe; see `quantize_file`.
        calibration: calibrated rounding, if `outtype` is a recipe; likewise.
        split_max_bytes: write several files, each with at most this many bytes of
            tensors.
        dry_run: do everything but write.
        device: where weights are quantized, if `outtype` is a recipe; see
            `quantize_file`.
        threads: slabs converted at a time; the bytes do not depend on it.
        progress: called with the bytes read so far.
        notify: called with a message where two of the tokenizer's files disagree, and
            as by `quantize_file`.

    Raises:
        QuantkitError: the folder cannot be read, or the file cannot be written.

    Example:
        >>> convert("SmolLM2-135M", "smollm2-f16.gguf", "f16")  # doctest: +SKIP
    """
    check_flags(
        pad_vocab=pad_vocab,
        tensors_only=tensors_only,
        mmproj=mmproj,
        symmetric_q4_0=symmetric_q4_0,
        affine_q4_1=affine_q4_1,
        dense_modules=dense_modules,
        keep_nvfp4=keep_nvfp4,
        dry_run=dry_run,
    )
    if symmetric_q4_0 and affine_q4_1:
        raise OptionError(
            "`symmetric_q4_0=True` and `affine_q4_1=True` are for different "
            "checkpoints; give one of them"
        )
    if mmproj:
        _refuse_idle(
            "mmproj",
            pre_tokenizer=pre_tokenizer,
            vocab_type=None if vocab_type == "auto" else vocab_type,
            pad_vocab=pad_vocab,
            target_model=target_model,
            tensors_only=tensors_only,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
            keep_nvfp4=keep_nvfp4,
            importance=importance,
            calibration=calibration,
        )
    check_callbacks(progress=progress, notify=notify)
    folder, out = as_path(model_dir, "model_dir"), as_path(out, "out")
    general = None if metadata_file is None else as_path(metadata_file, "metadata_file")
    target = None if target_model is None else as_path(target_model, "target_model")
    if target is not None and tensors_only:
        raise OptionError("`target_model` has no effect with `tensors_only=True`")
    if vocab_type not in get_args(VocabType):
        known = ", ".join(get_args(VocabType))
        raise OptionError(f"`vocab_type` is {vocab_type!r}; expected one of {known}")
    is_plain = not isinstance(outtype, Recipe) and str(outtype).lower() in OUTTYPES
    if keep_nvfp4 and not is_plain:
        raise OptionError(f"`keep_nvfp4` has no effect with {outtype}")
    if is_plain and importance is not None:
        raise OptionError(f"`importance` has no effect with {outtype}")
    if is_plain and parse_device(device) is not None:
        raise OptionError(f"`device` has no effect with {outtype}")
    refuse_idle_calibration(calibration)
    if is_plain and calibration is not None:
        raise OptionError(f"`calibration` has no effect with {outtype}")
    if tensors_only:
        _refuse_idle(
            "tensors_only",
            calibration=calibration,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
            keep_nvfp4=keep_nvfp4,
        )
    stored = str(outtype) if is_plain else None
    source: Source
    if mmproj:
        if not is_plain:
            raise OptionError(
                f"`outtype` is {outtype}; with `mmproj=True` expected one of "
                f"{', '.join(OUTTYPES)}"
            )
        source = ProjectorSource(folder, stored, metadata_file=general)
    elif tensors_only:
        source = TensorsOnlySource(folder, stored, metadata_file=general)
    else:
        source = CheckpointSource(
            folder,
            stored,
            pre_tokenizer=pre_tokenizer,
            vocab_type=vocab_type,
            pad_vocab=pad_vocab,
            metadata_file=general,
            target_model=target,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
            keep_nvfp4=keep_nvfp4,
            notify=notify,
        )
    with source.checkpoint:
        if isinstance(source, CheckpointSource):
            source.check()
        if is_plain:
            return _written(source, out, split_max_bytes, dry_run, threads, progress)
        done = quantize_file(
            source,
            out,
            outtype,
            importance=importance,
            calibration=calibration,
            allow_requantize=symmetric_q4_0 or affine_q4_1,
            split_max_bytes=split_max_bytes,
            dry_run=dry_run,
            device=device,
            threads=threads,
            progress=progress,
            notify=notify,
        )
    specs = tuple(TensorSpec(t.name, t.shape, t.type) for t in done.tensors)
    return ConvertReport(done.paths, specs, done.size_bytes, dry_run)


def _refuse_idle(mode: str, **given: Any) -> None:
    """Refuse parameters that have no effect with another, `mode`.

    Raises:
        OptionError: one was given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise OptionError(f"`{name}` has no effect with `{mode}=True`")


def _written(
    source: Source,
    out: Path,
    split_max_bytes: int | None,
    dry_run: bool,
    threads: int | Workers | None,
    progress: Progress | None,
) -> ConvertReport:
    """Write the source's tensors, in its own types, to one or several files."""
    specs = [
        TensorSpec(tensor.name, tensor.shape, tensor.type)
        for tensor in source.tensors.values()
    ]
    metadata = source.metadata
    groups = [specs]
    if split_max_bytes is not None:
        groups = by_size(specs, split_max_bytes, metadata)
    parts = parts_of(out, metadata, groups)
    refuse_to_overwrite(source, parts)
    if not dry_run:
        write_parts(source, parts, threads=threads, progress=progress)
    return ConvertReport(
        tuple(part.path for part in parts),
        tuple(specs),
        sum(part.writer().size_bytes for part in parts),
        dry_run,
    )
