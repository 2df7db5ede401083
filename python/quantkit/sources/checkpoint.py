"""Checkpoints as GGUF models, converted lazily as llama.cpp's converter does.

Source of the rules: convert_hf_to_gguf.py of llama.cpp, build 11434.  For the supported
families, the files are identical byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from ..checkpoint.dense_modules import has_dense_modules
from ..checkpoint.folder import Checkpoint
from ..checkpoint.lazy import LazyTensor
from ..checkpoint.model_card import general_fields
from ..checkpoint.model_name import model_size_label
from ..checkpoint.pooling import read_pooling
from ..errors import (
    CheckpointError,
    FormatError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from ..files.json_file import read_json
from ..forward.facts import TOKENS
from ..gguf.keys import QUANTIZATION_VERSION, Field, FileType, string, uint32
from ..gguf.opener import SourceOpener
from ..gguf.source import SourceTensor
from ..models import check_model, settled
from ..models.drafts import TARGET
from ..models.family import KEPT_F32, Named
from ..models.pooling import POOLING
from ..progress import Notify
from ..quantizing.slabs import Slab
from ..settings import shown
from ..types import QuantType
from ..vocab import VocabType, tokenizer_fields
from .kept import refuse_16_bit_inputs, with_kept_codes
from .target import read_target

__all__ = [
    "OUTTYPES",
    "CheckpointSource",
    "TensorsOnlySource",
    "described",
    "in_type",
    "matrix_type",
    "once_each",
    "typed_tensor",
]

OUTTYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""Types for a checkpoint's matrices; "auto" is the checkpoint's 16-bit type."""

PROJECTING = ("gemma-embedding",)
"""Architectures with linear maps after the pooling."""
EXPERT_COUNTS = ("num_local_experts", "num_experts")
"""Where llama.cpp's converter looks for the number of experts with kept codes."""
MATRICES = (".weight", ".lora_a", ".lora_b")
MAX_DIMENSIONS = 4
INTEGERS = (QuantType.I32, QuantType.I64)


class CheckpointSource:
    """A checkpoint folder as the GGUF model that llama.cpp's converter would write.

    Args:
        folder: a Hugging Face checkpoint folder.
        outtype: the type of matrices, one of `OUTTYPES`; None: keep each one's type.
        pre_tokenizer: llama.cpp's name of the pre-tokenizer; None: detect it.
        vocab_type: which of the tokenizer's files to read; see `tokenizer_fields`.
        pad_vocab: pad the vocabulary to the model's `vocab_size` with placeholders.
        metadata_file: a JSON file with `general.*` keys that replace the folder's.
        target_model: the folder of the model that a draft model drafts for.
        symmetric_q4_0: convert symmetric 4-bit weights to Q4_0 without loss.
        affine_q4_1: convert affine 4-bit weights to Q4_1 without loss.
        dense_modules: include the linear maps of a sentence-transformers folder.
        keep_nvfp4: keep the codes of NVFP4 weights.
        notify: called with a message where two of the tokenizer's files disagree.

    Attributes:
        checkpoint: the open folder.
        paths: the files that tensors are read from.
        files: these and the small files beside them.
        type: the type of matrices; if `outtype` is None, the type for "auto".
        tensors: by GGUF name, in the converter's order and types.

    Raises:
        CheckpointError: the folder is incomplete, or the target's is missing.
        FormatError: a file in it is damaged.
        OptionError: a target is given for a model that does not draft.
        UnsupportedModelError: quantkit does not support the architecture, or GGUF
            readers do not support a setting in the config.
        UnsupportedTypeError: `outtype` is unknown.
    """

    def __init__(
        self,
        folder: str | Path,
        outtype: str | None = "auto",
        *,
        pre_tokenizer: str | None = None,
        vocab_type: VocabType = "auto",
        pad_vocab: bool = False,
        metadata_file: Path | None = None,
        target_model: Path | None = None,
        symmetric_q4_0: bool = False,
        affine_q4_1: bool = False,
        dense_modules: bool = False,
        keep_nvfp4: bool = False,
        notify: Notify | None = None,
    ) -> None:
        self.checkpoint = checkpoint = Checkpoint(
            folder,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
        )
        self.paths, self.files = checkpoint.paths, checkpoint.files
        axes = (n for tensor in checkpoint.tensors.values() for n in tensor.shape)
        self._family, config = settled(checkpoint.config, max(axes, default=0))
        if self._family.pools:
            config = {**config, POOLING: read_pooling(checkpoint.folder)}
        self._refuse_beside(self._family.refused_files)
        self._target = read_target(target_model, self._family)
        if self._target is not None:
            config = {**config, TARGET: self._target.config}
        self._config = self._family.extended(config, checkpoint.tensors)
        self._family.check_settings(self._config)
        if notify is not None and (notice := self._family.notice(self._config)):
            notify(f"{checkpoint.folder}: {notice}")
        self._vocabulary = partial(
            tokenizer_fields,
            pre_tokenizer=pre_tokenizer,
            vocab_type=vocab_type,
            pad_vocab=pad_vocab,
            notify=notify,
        )
        self._metadata_file = metadata_file
        if notify is not None and self._family.name in PROJECTING and not dense_modules:
            _tell_of_dense_modules(checkpoint.folder, notify)
        self.type = matrix_type(outtype or "auto", checkpoint.half_type)
        self.opener = SourceOpener.of(
            *(CheckpointSource, self.files),
            folder=checkpoint.folder,
            outtype=outtype,
            pre_tokenizer=pre_tokenizer,
            vocab_type=vocab_type,
            pad_vocab=pad_vocab,
            metadata_file=metadata_file,
            target_model=target_model,
            symmetric_q4_0=symmetric_q4_0,
            affine_q4_1=affine_q4_1,
            dense_modules=dense_modules,
            keep_nvfp4=keep_nvfp4,
        )
        matrices = self.type if outtype else None
        mapped = partial(self._family.tensors, self._config)
        made: Iterable[Named] = mapped(checkpoint.tensors)
        if keep_nvfp4:
            refuse_16_bit_inputs(checkpoint.quantization)
            counts = (checkpoint.config.get(key) for key in EXPERT_COUNTS)
            made = with_kept_codes(
                checkpoint.tensors, mapped, experts_last=not any(counts)
            )
        self.tensors: Mapping[str, SourceTensor] = {
            name: typed_tensor(
                name,
                tensor,
                self._family.matrix_type(tensor, matrices),
                self._family.f32_ends(name, self._config),
            ).opened_by(self.opener)
            for name, tensor in once_each(made)
        }

    @cached_property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key, in llama.cpp's order.

        Raises:
            CheckpointError: the folder has no tokenizer, or another model's.
            UnsupportedModelError: quantkit does not support the tokenizer.
        """
        if not self._family.has_vocabulary:
            return {**self.model_fields, "tokenizer.ggml.model": string("none")}
        folder, config = self.checkpoint.folder, self._config
        if self._target is not None:
            folder = self._target.folder
            config = self._family.vocabulary_config(config)
        return {
            **self.model_fields,
            **self._vocabulary(folder, config, self._family.name),
            **self._family.token_fields(self._config),
        }

    @cached_property
    def model_fields(self) -> Mapping[str, Field]:
        """The metadata without the vocabulary.

        Raises:
            CheckpointError: the config lacks a key.
            UnsupportedModelError: GGUF readers do not support a setting in the config.
        """
        folder, name = self.checkpoint.folder, self._family.name
        own = self._family.hyperparameters(self._config, self._file_type())
        generation = read_json(folder / "generation_config.json") or {}
        own |= self._family.generation_fields(generation)
        return {
            "general.architecture": string(name),
            **_prefixed(name, self._family.early_fields(self._config)),
            "general.type": string("model"),
            **described(folder, self.tensors, self._metadata_file),
            **_prefixed(name, own),
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
        }

    def check(self, *, to_run: bool = False) -> None:
        """Refuse tensors that do not form a model that GGUF readers can run.

        Only shapes are read.

        Args:
            to_run: refuse settings that quantkit cannot run, too; other readers may be
                able to.

        Raises:
            CheckpointError: a tensor is missing, has another shape, or is not read by
                the architecture.
            UnsupportedModelError: quantkit cannot run this model.
        """
        shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        self._check_vocabulary(shapes.get("token_embd.weight", ()))
        try:
            check_model(self.metadata, self._family.name, shapes)
        except FormatError as error:
            raise CheckpointError(
                f"{self.checkpoint.folder}: the checkpoint does not make a complete "
                f"{self._family.name} model.  {error}"
            ) from error
        except UnsupportedModelError:
            if to_run:
                raise

    def _refuse_beside(self, files: Mapping[str, str]) -> None:
        """Refuse a folder that has one of the files, by name; the values say why.

        Raises:
            UnsupportedModelError: it has one.
        """
        for name, reason in files.items():
            if (path := self.checkpoint.folder / name).exists():
                raise UnsupportedModelError(f"{path}: {reason}")

    def _check_vocabulary(self, embedding: tuple[int, ...]) -> None:
        """Refuse a vocabulary that does not fit the shape of the embedding."""
        tokens = self.metadata.get(TOKENS)
        if tokens is None or len(embedding) != 2 or len(tokens.value) == embedding[0]:
            return
        size = self._config.get("vocab_size")
        advice = ""
        if size != embedding[0]:
            advice = (
                f"; config.json has vocab_size: {shown(size)}, and should have "
                f"{embedding[0]}: correct it, or download the complete folder again"
            )
        raise CheckpointError(
            f"{self.checkpoint.folder}: the vocabulary has {len(tokens.value)} tokens, "
            f"but the token embedding has {embedding[0]} rows{advice}"
        )

    def _file_type(self) -> FileType:
        """The file type of the matrices, or of the experts if they are MXFP4."""
        method = self.checkpoint.quantization.get("quant_method")
        has_nvfp4 = any(t.type is QuantType.NVFP4 for t in self.tensors.values())
        if has_nvfp4 and self.type is not QuantType.Q8_0:
            return FileType.NVFP4
        has_mxfp4 = any(t.type is QuantType.MXFP4 for t in self.tensors.values())
        if has_mxfp4 and self._family.file_type is not None:
            return self._family.file_type
        if method in ("mlx", "mxfp4") and has_mxfp4 and self.type is not QuantType.Q8_0:
            return FileType.MXFP4_MOE
        return FileType[self.type.name]


class TensorsOnlySource:
    """Any folder of safetensors as GGUF tensors with unchanged names.

    For models that llama.cpp does not support, such as diffusion models.  The metadata
    has no vocabulary and no hyperparameters.

    Args:
        folder: a folder of safetensors files; config.json may be missing.
        outtype: the type of matrices, one of `OUTTYPES`; None: keep each one's type.
        metadata_file: a JSON file with `general.*` keys that replace the folder's.

    Attributes:
        checkpoint, paths, files, type, tensors: as in `CheckpointSource`.

    Raises:
        CheckpointError: the folder is incomplete.
        FormatError: a file in it is damaged.
        UnsupportedTypeError: `outtype` is unknown.
    """

    def __init__(
        self,
        folder: str | Path,
        outtype: str | None = "auto",
        *,
        metadata_file: Path | None = None,
    ) -> None:
        self.checkpoint = checkpoint = Checkpoint(folder, needs_config=False)
        self.paths, self.files = checkpoint.paths, checkpoint.files
        self._metadata_file = metadata_file
        self.type = matrix_type(outtype or "auto", checkpoint.half_type)
        self.opener = SourceOpener.of(
            *(TensorsOnlySource, self.files),
            folder=checkpoint.folder,
            outtype=outtype,
            metadata_file=metadata_file,
        )
        matrices = self.type if outtype else None
        self.tensors: Mapping[str, SourceTensor] = {
            name: typed_tensor(name, tensor, matrices).opened_by(self.opener)
            for name, tensor in checkpoint.tensors.items()
        }

    @property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key; the architecture is the config's `model_type`."""
        config = self.checkpoint.config
        classes = config.get("architectures")
        named = classes if isinstance(classes, list) else []
        known = (config.get("model_type"), *named[:1], config.get("_class_name"))
        arch = next((n for n in known if n and isinstance(n, str)), "unknown")
        return {
            "general.architecture": string(arch),
            "general.type": string("model"),
            **described(self.checkpoint.folder, self.tensors, self._metadata_file),
            "general.file_type": uint32(FileType[self.type.name]),
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
        }


def _tell_of_dense_modules(folder: Path, notify: Notify) -> None:
    """Say that linear maps are left out, as by llama.cpp's converter."""
    if has_dense_modules(folder):
        notify(
            f"{folder} has linear maps after the pooling (2_Dense, 3_Dense), which are "
            "left out; embeddings need them: give `dense_modules=True`"
        )


def once_each(tensors: Iterable[Named]) -> Iterator[Named]:
    """GGUF tensors, each name once.

    Raises:
        CheckpointError: a name comes again.
    """
    seen = set()
    for name, tensor in tensors:
        if name in seen:
            raise CheckpointError(
                f"two tensors of the checkpoint are {name} of the model; remove the "
                "file that is not part of the model"
            )
        seen.add(name)
        yield name, tensor


def _prefixed(arch: str, fields: Mapping[str, Field]) -> dict[str, Field]:
    """A family's fields, with the architecture's prefix where the file has it."""
    bare = "general.", "tokenizer.", "xielu.", "diffusion."
    return {
        key if key.startswith(bare) else f"{arch}.{key}": field
        for key, field in fields.items()
    }


def described(
    folder: Path,
    tensors: Mapping[str, SourceTensor],
    metadata_file: Path | None = None,
) -> dict[str, Field]:
    """The `general.*` metadata of a folder, including the model's size."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    n_weights = sum(tensor.n_weights for tensor in tensors.values())
    label = model_size_label(shapes)
    return general_fields(folder, n_weights, label, metadata_file)


def matrix_type(outtype: str, stored: QuantType | None) -> QuantType:
    """The type of matrices.

    Args:
        outtype: one of `OUTTYPES`.
        stored: the type for "auto"; None: F16.

    Raises:
        UnsupportedTypeError: `outtype` is unknown.
    """
    if outtype.lower() not in OUTTYPES:
        raise UnsupportedTypeError(
            f"unknown outtype {outtype!r}; expected one of {', '.join(OUTTYPES)}"
        )
    if outtype.lower() != "auto":
        return QuantType.parse(outtype)
    return stored or QuantType.F16


def typed_tensor(
    name: str,
    tensor: LazyTensor,
    matrix_type: QuantType | None,
    kept_f32: tuple[str, ...] = KEPT_F32,
) -> SourceTensor:
    """A tensor with its GGUF name, read in its type in the GGUF file.

    Args:
        name: GGUF name.
        tensor: the tensor.
        matrix_type: its type if it is a matrix; None: keep the stored type.
        kept_f32: ends of the names of matrices that are F32 nevertheless.

    Raises:
        CheckpointError: the tensor has no weights.
    """
    return in_type(name, tensor, lambda source: _target(source, matrix_type, kept_f32))


def in_type(
    name: str, tensor: LazyTensor, target_of: Callable[[SourceTensor], QuantType]
) -> SourceTensor:
    """A tensor with its GGUF name, in the type that a function chooses.

    It is F16 instead if its rows are not whole blocks of that type, and unchanged if it
    is stored in a quantized type.

    Raises:
        CheckpointError: the tensor has no weights.
    """
    source = SourceTensor(name, tensor.shape, tensor.type, tensor.rows)
    if 0 in source.shape:
        raise CheckpointError(
            f"tensor {name!r} has shape {list(source.shape)}, so it has no weights; "
            "save the checkpoint again (with DeepSpeed's ZeRO-3: gathered)"
        )
    if len(source.shape) > MAX_DIMENSIONS:
        *_, a, b, c = source.shape
        source = replace(source, shape=(source.n_weights // (a * b * c), a, b, c))
    if source.type.is_quantized or source.type in INTEGERS:  # as in GGUF files
        return source
    target = target_of(source)
    if source.n_cols % target.block_size:
        target = QuantType.F16
    if source.type is target:
        return source
    return replace(
        source,
        type=target,
        read=lambda start, stop: Slab(source, start, stop, target).convert(),
    )


def _target(
    tensor: SourceTensor, matrix_type: QuantType | None, kept_f32: tuple[str, ...]
) -> QuantType:
    """The type of a tensor if matrices get `matrix_type`; None: the stored one."""
    is_vector = len(tensor.shape) < 2 or not tensor.name.endswith(MATRICES)
    if is_vector or tensor.name.endswith(kept_f32):
        return QuantType.F32
    return matrix_type or tensor.type
