"""Checkpoints as GGUF models: the file that llama.cpp's converter writes, seen lazily.

Source of the rules: convert_hf_to_gguf.py of llama.cpp, build 11434.  For the families
that quantkit knows, the files are the same byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Checkpoint, CheckpointTensor
from .errors import CheckpointError, UnsupportedModelError, UnsupportedTypeError
from .gguf.keys import Field, FileType, string, uint32
from .modelcard import general_fields
from .models import family_for_config
from .models.base import TensorMap
from .progress import Progress
from .slabs import Slab
from .source import SourceTensor
from .types import QuantType
from .vocab import tokenizer_fields
from .writing import write_model

__all__ = ["OUTTYPES", "CheckpointSource", "convert"]

OUTTYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""What a checkpoint's matrices can become; "auto" is the type they have."""

QUANTIZATION_VERSION = 2
# Kept F32, as are vectors and norms: readers want them so, and they are small.
KEPT_F32 = ("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight")
# The hyperparameters that llama.cpp writes after general.file_type.
AFTER_FILE_TYPE = (".vocab_size", ".rope.dimension_count")


class CheckpointSource:
    """A checkpoint folder as the model that llama.cpp's converter makes of it.

    Args:
        folder: a Hugging Face checkpoint folder.
        outtype: what matrices become, one of `OUTTYPES`; None: each stays as it is.
        pre_tokenizer: llama.cpp's name of the pre-tokenizer (None: recognized).

    Attributes:
        checkpoint: the open folder.
        paths: the files that tensors are read from.
        type: what matrices become (where each stays as it is, what "auto" gives).
        tensors: by GGUF name, in the converter's order and types.

    Raises:
        CheckpointError: the folder is incomplete.
        FormatError: a file in it is damaged.
        UnsupportedModelError: quantkit does not know the architecture, or the
            checkpoint is quantized.
        UnsupportedTypeError: `outtype` is unknown.
    """

    def __init__(
        self,
        folder: str | Path,
        outtype: str | None = "auto",
        *,
        pre_tokenizer: str | None = None,
    ) -> None:
        self.checkpoint = checkpoint = Checkpoint(folder)
        self.paths = checkpoint.paths
        self._family = family_for_config(checkpoint.config)
        self._pre_tokenizer = pre_tokenizer
        _refuse_quantized(checkpoint)
        shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
        stored = {
            mapped.name: stored_tensor(checkpoint, mapped)
            for mapped in self._family.tensor_maps(checkpoint.config, shapes)
        }
        self.type = _matrix_type(outtype or "auto", stored.values())
        self.tensors: Mapping[str, SourceTensor] = {
            name: _converted(
                tensor, _target(tensor, self.type if outtype else tensor.type)
            )
            for name, tensor in stored.items()
        }

    @cached_property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key, in the order llama.cpp writes it.

        Raises:
            CheckpointError: the folder has no tokenizer, or not the model's.
            UnsupportedModelError: the tokenizer is of a kind quantkit cannot write.
        """
        folder, config = self.checkpoint.folder, self.checkpoint.config
        n_weights = sum(tensor.n_weights for tensor in self.tensors.values())
        own = self._family.hyperparameters(config)
        late = {key: own.pop(key) for key in list(own) if key.endswith(AFTER_FILE_TYPE)}
        return {
            "general.architecture": string(self._family.name),
            "general.type": string("model"),
            **general_fields(folder, n_weights),
            **own,
            "general.file_type": uint32(FileType[self.type.name]),
            **late,
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
            **tokenizer_fields(
                folder, config, self._family.name, pre_tokenizer=self._pre_tokenizer
            ),
        }


def convert(
    model_dir: str | Path,
    out: str | Path,
    outtype: str = "auto",
    *,
    pre_tokenizer: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Convert a Hugging Face checkpoint folder to a GGUF file.

    Args:
        model_dir: holds config.json, *.safetensors and the tokenizer's files.
        out: the file to write; it appears under this name only once it is complete.
        outtype: what matrices become, one of `OUTTYPES`; vectors become F32.
        pre_tokenizer: llama.cpp's name of the pre-tokenizer (None: recognized).
        threads: slabs converted at a time; the bytes do not depend on it.
        progress: told about the bytes read.

    Raises:
        QuantkitError: the folder cannot be read or the file not be written.

    Example:
        >>> convert("SmolLM2-135M", "smollm2-f16.gguf", "f16")  # doctest: +SKIP
    """
    source = CheckpointSource(model_dir, outtype, pre_tokenizer=pre_tokenizer)
    with source.checkpoint:
        write_model(
            source,
            {name: tensor.type for name, tensor in source.tensors.items()},
            out,
            metadata=source.metadata,
            threads=threads,
            progress=progress,
        )


def _refuse_quantized(checkpoint: Checkpoint) -> None:
    quantization = checkpoint.config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "an unnamed method")
        raise UnsupportedModelError(
            f"{checkpoint.folder} is quantized already (by {method}); quantkit "
            "converts F32, F16 and BF16: use the checkpoint that it was made from"
        )


def _matrix_type(outtype: str, tensors: Iterable[SourceTensor]) -> QuantType:
    """What matrices become: for "auto", the 16-bit type of the first that has one."""
    if outtype.lower() not in OUTTYPES:
        raise UnsupportedTypeError(f"outtype {outtype!r}: one of {', '.join(OUTTYPES)}")
    if outtype.lower() != "auto":
        return QuantType.parse(outtype)
    halves = (
        tensor.type
        for tensor in tensors
        if len(tensor.shape) > 1 and tensor.type is not QuantType.F32
    )
    return next(halves, QuantType.F16)


def _target(tensor: SourceTensor, matrix_type: QuantType) -> QuantType:
    """What a tensor becomes where matrices become `matrix_type`."""
    is_vector = len(tensor.shape) < 2 or not tensor.name.endswith(".weight")
    if is_vector or tensor.name.endswith(KEPT_F32):
        return QuantType.F32
    if tensor.n_cols % matrix_type.block_size:
        return QuantType.F16
    return matrix_type


def stored_tensor(checkpoint: Checkpoint, mapped: TensorMap) -> SourceTensor:
    """A GGUF tensor in the type in which the checkpoint has it."""
    if mapped.values is not None:
        values = np.ascontiguousarray(mapped.values, dtype=np.float32)
        rows = values.reshape(-1, values.shape[-1]).view(np.uint8)
        return SourceTensor(
            mapped.name, values.shape, QuantType.F32, lambda a, b: rows[a:b]
        )
    parts = [checkpoint.tensors[name] for name in mapped.sources]
    shape = parts[0].shape if len(parts) == 1 else (len(parts), *parts[0].shape)
    for part in parts[1:]:
        if part.dtype != parts[0].dtype or part.shape != parts[0].shape:
            raise CheckpointError(
                f"{part.name!r} is {part.dtype} {list(part.shape)}, but "
                f"{parts[0].name!r} is {parts[0].dtype} {list(parts[0].shape)}; "
                f"{mapped.name} is made of both, so they must be alike"
            )
    return SourceTensor(
        mapped.name, shape, parts[0].type, partial(_read_rows, parts, mapped.rows)
    )


def _read_rows(
    parts: Sequence[CheckpointTensor],
    order: NDArray[np.intp] | None,
    start: int,
    stop: int,
) -> NDArray[np.uint8]:
    """Rows start..stop-1 of tensors one after the other, entries taken in `order`."""
    if order is not None:
        (part,) = parts
        if len(part.shape) == 1:
            return part.gather(order).reshape(1, -1)[start:stop]
        return part.gather(order[start:stop])
    n_rows = math.prod(parts[0].shape[:-1])
    pieces = [
        part.rows(max(start - i * n_rows, 0), max(stop - i * n_rows, 0))
        for i, part in enumerate(parts)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _converted(tensor: SourceTensor, target: QuantType) -> SourceTensor:
    """A tensor that is read in another type than it is stored in."""
    if tensor.type is target:
        return tensor
    return replace(
        tensor,
        type=target,
        read=lambda start, stop: Slab(tensor, start, stop, target).convert(),
    )
