"""Describe the contents of a GGUF file, for `quantkit info`.

Source of the metadata keys: the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display import Displayed
from ..gguf import Field, GGUFFile, ValueType
from ..gguf.keys import FileType, text_of
from ..gguf.source import SourceTensor
from ..paths import StrPath, as_path
from ..types import QuantType
from ..visible import visible

__all__ = ["MetadataEntry", "ModelInfo", "TensorInfo", "TypeUsage", "info"]

LONGEST_TEXT = 60
SHOWN_ITEMS = 3

_INTEGERS = frozenset(ValueType) - {
    ValueType.FLOAT32,
    ValueType.FLOAT64,
    ValueType.BOOL,
    ValueType.STRING,
    ValueType.ARRAY,
}


@dataclass(frozen=True)
class TensorInfo(Displayed):
    """A tensor in the list; its shape has the row length last."""

    name: str
    shape: tuple[int, ...]
    type: QuantType
    n_bytes: int


@dataclass(frozen=True)
class TypeUsage(Displayed):
    """How much of a model is stored in one type."""

    type: QuantType
    n_tensors: int
    n_weights: int
    n_bytes: int


@dataclass(frozen=True)
class MetadataEntry(Displayed):
    """A metadata value, shortened to one line; `type` is such as "string[49152]"."""

    key: str
    type: str
    text: str


@dataclass(frozen=True)
class ModelInfo(Displayed):
    """The contents of a GGUF file.

    Facts that the file does not state are None.  Head counts are tuples if they differ
    between layers.

    Attributes:
        paths: the file, or all files of a split model.
        size_bytes: of all files together.
        version: of the GGUF format.
        alignment: of tensors, in bytes.
        architecture: such as "llama".
        name: of the model.
        file_type: the recipe's name, such as "Q4_K_M".
        n_weights: weights of all tensors.
        data_bytes: bytes of all tensors, without padding.
        bits_per_weight: 8 * data_bytes / n_weights; 0 without weights.
        context_length: context length in training, in tokens.
        embedding_length: width of the model.
        block_count: number of layers.
        head_count: number of query heads.
        head_count_kv: number of key and value heads.
        vocabulary: kind of tokenizer, such as "gpt2" for byte-level BPE.
        vocabulary_size: number of tokens.
        types: the types in use, by descending bytes.
        metadata: in file order.
        tensors: in file order.
    """

    paths: tuple[Path, ...]
    size_bytes: int
    version: int
    alignment: int
    architecture: str | None
    name: str | None
    file_type: str | None
    n_weights: int
    data_bytes: int
    bits_per_weight: float
    context_length: int | None
    embedding_length: int | None
    block_count: int | None
    head_count: int | tuple[int, ...] | None
    head_count_kv: int | tuple[int, ...] | None
    vocabulary: str | None
    vocabulary_size: int | None
    types: tuple[TypeUsage, ...]
    metadata: tuple[MetadataEntry, ...]
    tensors: tuple[TensorInfo, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same facts as dicts, lists, strings and numbers, for JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def info(path: StrPath) -> ModelInfo:
    """Describe the GGUF file at `path` without reading its tensors.

    Raises:
        OptionError: `path` is not a path.
        FormatError: the file is not valid.
        OSError: the file cannot be opened.
    """
    with GGUFFile(as_path(path, "path")) as file:
        metadata = file.metadata
        tensors = tuple(_tensor_info(tensor) for tensor in file.tensors.values())
        n_weights = sum(math.prod(tensor.shape) for tensor in tensors)
        data_bytes = sum(tensor.n_bytes for tensor in tensors)
        architecture = _text(metadata, "general.architecture")
        return ModelInfo(
            paths=file.paths,
            size_bytes=file.size_bytes,
            version=file.version,
            alignment=file.alignment,
            architecture=architecture,
            name=_text(metadata, "general.name"),
            file_type=_file_type(metadata),
            n_weights=n_weights,
            data_bytes=data_bytes,
            bits_per_weight=8 * data_bytes / n_weights if n_weights else 0.0,
            context_length=_integer(metadata, f"{architecture}.context_length"),
            embedding_length=_integer(metadata, f"{architecture}.embedding_length"),
            block_count=_integer(metadata, f"{architecture}.block_count"),
            head_count=_per_block(metadata, f"{architecture}.attention.head_count"),
            head_count_kv=_per_block(
                metadata, f"{architecture}.attention.head_count_kv"
            ),
            vocabulary=_text(metadata, "tokenizer.ggml.model"),
            vocabulary_size=_vocabulary_size(metadata, architecture),
            types=_type_usage(tensors),
            metadata=tuple(_entry(key, field) for key, field in metadata.items()),
            tensors=tensors,
        )


def _tensor_info(tensor: SourceTensor) -> TensorInfo:
    n_bytes = tensor.n_rows * tensor.type.row_bytes(tensor.n_cols)
    return TensorInfo(visible(tensor.name), tensor.shape, tensor.type, n_bytes)


def _type_usage(tensors: Iterable[TensorInfo]) -> tuple[TypeUsage, ...]:
    usage: dict[QuantType, TypeUsage] = {}
    for tensor in tensors:
        so_far = usage.get(tensor.type, TypeUsage(tensor.type, 0, 0, 0))
        usage[tensor.type] = TypeUsage(
            tensor.type,
            so_far.n_tensors + 1,
            so_far.n_weights + math.prod(tensor.shape),
            so_far.n_bytes + tensor.n_bytes,
        )
    return tuple(sorted(usage.values(), key=lambda u: u.n_bytes, reverse=True))


def _text(metadata: Mapping[str, Field], key: str) -> str | None:
    text = text_of(metadata, key)
    return None if text is None else visible(text)


def _integer(metadata: Mapping[str, Field], key: str) -> int | None:
    field = metadata.get(key)
    if field is None or field.type not in _INTEGERS:
        return None
    return int(field.value)


def _per_block(metadata: Mapping[str, Field], key: str) -> int | tuple[int, ...] | None:
    field = metadata.get(key)
    if field is None or field.item_type not in _INTEGERS:
        return _integer(metadata, key)
    return tuple(field.value.tolist())


def _file_type(metadata: Mapping[str, Field]) -> str | None:
    number = _integer(metadata, "general.file_type")
    if number is None:
        return None
    try:
        return FileType(number).name
    except ValueError:
        return f"unknown ({number})"


def _vocabulary_size(
    metadata: Mapping[str, Field], architecture: str | None
) -> int | None:
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and tokens.type is ValueType.ARRAY:
        return len(tokens.value)
    return _integer(metadata, f"{architecture}.vocab_size")


def _entry(key: str, field: Field) -> MetadataEntry:
    if field.type is not ValueType.ARRAY or field.item_type is None:
        value = field.value
        if field.type is ValueType.FLOAT32:
            value = np.float32(value)  # prints 1e-05, not 9.999999747378752e-06
        return MetadataEntry(visible(key), field.type.name.lower(), _line(value))
    items = [_item(item) for item in field.value[:SHOWN_ITEMS]]
    if len(field.value) > SHOWN_ITEMS:
        items.append("...")
    return MetadataEntry(visible(key), _kind(field), f"[{', '.join(items)}]")


def _kind(field: Field) -> str:
    """The type of an array's items, and their number; "array" for arrays of arrays."""
    item_type = field.item_type or field.type
    return f"{item_type.name.lower()}[{len(field.value)}]"


def _item(value: Any) -> str:
    if isinstance(value, Field):  # an array in an array
        return _kind(value)
    return f'"{_line(value)}"' if isinstance(value, str) else str(value)


def _line(value: Any) -> str:
    """The value on one line, cut to `LONGEST_TEXT` characters."""
    line = visible(str(value)[: LONGEST_TEXT + 1])
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 3] + "..."


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, QuantType):
        return value.name
    return str(value) if isinstance(value, Path) else value
