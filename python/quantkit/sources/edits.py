"""Edit a model before it is written: set metadata, remove layers.

Source: llama-quantize's --override-kv and --prune-layers, build 11434.  There are two
differences: negative numbers keep their sign, and metadata with one value per layer
lose the values of removed layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import index
from pathlib import Path

import numpy as np

from ..display import Displayed
from ..errors import OptionError
from ..files.open_files import OpenFiles
from ..gguf.importance import Importance
from ..gguf.keys import Field, ValueType, boolean, float32, string, uint32
from ..gguf.reader import GGUFFile, Location
from ..gguf.source import ModelSource, SourceTensor
from .edit_checks import check_against_model, check_edited

__all__ = [
    "EditedModel",
    "Edits",
    "edit",
    "field_text",
    "file_metadata",
    "parse_field",
    "parse_layers",
    "runnable",
]

PER_LAYER = frozenset(
    {
        "activation_sparsity_scale",
        "attention.compress_ratios",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.indexer.types",
        "attention.recurrent_layers",
        "attention.rope_pattern",
        "attention.sliding_window_pattern",
        "expert_feed_forward_length",
        "expert_used_count",
        "feed_forward_length",
        "swiglu_clamp_exp",
        "swiglu_clamp_shexp",
        "xielu.alpha_n",
        "xielu.alpha_p",
        "xielu.beta",
        "xielu.eps",
    }
)
"""Keys whose lists have one item per layer, without the architecture's prefix."""

_LAYER = re.compile(r"(?<=blk\.)\d+(?=\.)")


@dataclass(frozen=True)
class Edits(Displayed):
    """Changes to a model other than types.

    Attributes:
        metadata: keys to set or add; not `split.*`, which describe files.
        prune_layers: numbers of the layers to remove; later layers are renumbered.

    Raises:
        OptionError: a value has a wrong type, or no reader would accept it.
    """

    metadata: Mapping[str, Field] = field(default_factory=dict)
    prune_layers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not isinstance(self.metadata, Mapping) or not all(
            isinstance(value, Field) for value in self.metadata.values()
        ):
            raise OptionError(
                f"`metadata` is {self.metadata!r}; expected Fields by key: "
                'dict([parse_field("general.name=str:Mine")])'
            )
        check_edited(self.metadata)
        try:
            layers = frozenset(map(index, self.prune_layers))
        except TypeError:
            raise OptionError(
                f"`prune_layers` is {self.prune_layers!r}; expected numbers of layers"
            ) from None
        object.__setattr__(self, "prune_layers", layers)

    def name_after(self, name: str) -> str | None:
        """The name of a tensor after pruning; None if its layer is removed."""
        found = _LAYER.search(name)
        if found is None or not self.prune_layers:
            return name
        layer = int(found[0])
        if layer in self.prune_layers:
            return None
        n_before = sum(pruned < layer for pruned in self.prune_layers)
        return f"{name[: found.start()]}{layer - n_before}{name[found.end() :]}"

    def importance_after(self, importance: Importance | None) -> Importance | None:
        """The importance of the whole model, by tensor names after pruning."""
        if importance is None:
            return None
        named = ((self.name_after(name), values) for name, values in importance.items())
        return {name: values for name, values in named if name is not None}


@dataclass(frozen=True)
class EditedModel:
    """A model after its edits.

    Attributes:
        metadata: the edited metadata in the model's order; `block_count` is not
            changed, because recipes depend on the depth of the whole model.
        tensors: the remaining tensors by their new names.
        paths: the files from which the model is read.
        locations: for a GGUF file, the places of its tensors by their new names.
        n_layers: the number of remaining layers.
        files: the open files; None if the model is not read from files.
    """

    metadata: Mapping[str, Field]
    tensors: Mapping[str, SourceTensor]
    paths: tuple[Path, ...]
    locations: Mapping[str, Location]
    n_layers: int
    files: OpenFiles | None


def edit(source: ModelSource, edits: Edits) -> EditedModel:
    """Edit a model.

    Raises:
        OptionError: a layer to prune does not exist, or no layer would remain, or a
            key would get another type.
    """
    check_against_model(edits.metadata, source.metadata)
    layers = {int(n[0]) for n in map(_LAYER.search, source.tensors) if n}
    unknown = sorted(edits.prune_layers - layers)
    if unknown:
        raise OptionError(
            f"there is no layer {unknown[0]} to prune; the model has {len(layers)}, "
            f"counted from 0"
        )
    if layers and edits.prune_layers == layers:
        raise OptionError("all layers are to be pruned; leave at least one")
    names = {name: edits.name_after(name) for name in source.tensors}
    locations = source.locations if isinstance(source, GGUFFile) else {}
    return EditedModel(
        {**source.metadata, **edits.metadata},
        {
            new: replace(source.tensors[old], name=new)
            for old, new in names.items()
            if new is not None
        },
        tuple(getattr(source, "paths", ())),
        {new: locations[old] for old, new in names.items() if new and old in locations},
        len(layers - edits.prune_layers),
        getattr(source, "files", None),
    )


def runnable(model: EditedModel, edits: Edits) -> EditedModel:
    """The edited model with the metadata of its remaining layers, to run it."""
    return replace(model, metadata=file_metadata(model.metadata, edits, model.n_layers))


def file_metadata(
    metadata: Mapping[str, Field], edits: Edits, n_layers: int
) -> dict[str, Field]:
    """The pruned metadata with the set keys at their end, as in llama-quantize.

    Args:
        metadata: of the whole model.
        edits: the changes.
        n_layers: the number of remaining layers.
    """
    metadata = {k: v for k, v in metadata.items() if k not in edits.metadata}
    metadata.update(edits.metadata)
    arch = metadata.get("general.architecture")
    count = f"{arch.value}.block_count" if arch else ""
    if not edits.prune_layers or count not in metadata:
        return metadata
    for key, value in metadata.items():
        if key.removeprefix(count.removesuffix("block_count")) in PER_LAYER:
            metadata[key] = _without(value, edits.prune_layers)
    del metadata[count]
    metadata[count] = uint32(n_layers)
    return metadata


def _without(value: Field, layers: frozenset[int]) -> Field:
    """A list without the items of some layers; a single value is for all layers."""
    if value.type is not ValueType.ARRAY:
        return value
    items = [item for i, item in enumerate(value.value) if i not in layers]
    is_numbers = isinstance(value.value, np.ndarray)
    return replace(
        value, value=np.array(items, value.value.dtype) if is_numbers else items
    )


def parse_layers(text: str) -> frozenset[int]:
    """Parse a list of layers such as "1,2".

    Raises:
        OptionError: the text is not a list of integers.
    """
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise OptionError(f"{text!r} is not a list of layers, such as 1,2")
    return frozenset(map(int, text.split(",")))


def parse_field(text: str) -> tuple[str, Field]:
    """Parse "KEY=TYPE:VALUE" to a key and a value.

    TYPE is int (uint32; int32 if negative; 64 bits if needed), float (32 bits), bool
    (true or false) or str.

    Raises:
        OptionError: the text has another form, or the value does not fit its type.

    Example:
        >>> parse_field("llama.context_length=int:4096")[1].value
        4096
    """
    key, equals, rest = str(text).partition("=")
    kind, colon, value = rest.partition(":")
    if not (key and equals and colon) or kind not in _PARSERS:
        raise OptionError(
            f"{text!r} is not KEY=TYPE:VALUE with a TYPE of {', '.join(_PARSERS)}, "
            "such as general.name=str:Mine"
        )
    try:
        text.encode()  # bytes that are no text come as lone surrogates
        return key, _PARSERS[kind](value)
    except UnicodeEncodeError:
        raise OptionError(f"{text!r} is not text in UTF-8") from None
    except ValueError as error:
        message = f"{text!r}: {value!r} is not of type {kind}: {error}"
        raise OptionError(message) from None


def _integer(text: str) -> Field:
    value = int(text)
    for kind, first, last in (
        (ValueType.UINT32, 0, 2**32),
        (ValueType.INT32, -(2**31), 0),
        (ValueType.UINT64, 0, 2**64),
        (ValueType.INT64, -(2**63), 0),
    ):
        if first <= value < last:
            return Field(kind, value)
    raise ValueError("it does not fit 64 bits")


def _float(text: str) -> Field:
    with np.errstate(over="ignore"):
        value = np.float32(text)
    if not np.isfinite(value):
        raise ValueError("it is not finite as a 32-bit number")
    return float32(float(value))


def _boolean(text: str) -> Field:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return boolean(text == "true")


_PARSERS: Mapping[str, Callable[[str], Field]] = {
    "int": _integer,
    "float": _float,
    "bool": _boolean,
    "str": string,
}


def field_text(value: Field) -> str:
    """A field as TYPE:VALUE, which `parse_field` can parse."""
    if value.type is ValueType.BOOL:
        return f"bool:{str(value.value).lower()}"
    kind = {ValueType.STRING: "str", ValueType.FLOAT32: "float"}.get(value.type, "int")
    return f"{kind}:{value.value}"
