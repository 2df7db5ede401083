"""What the recipes ask of a model, read from its GGUF metadata and tensor names.

Source of the keys: the GGUF format document (ggml/docs/gguf.md); of the 70B class: the
layer counts by which llama.cpp tells model sizes apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError
from ..gguf.keys import Field, ValueType

__all__ = ["ModelFacts", "layer_number"]

_LAYER = re.compile(r"blk\.(\d+)")

# Architecture -> depth of its 70B model.
_LAYERS_OF_70B = {"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


@dataclass(frozen=True)
class ModelFacts:
    """The facts about a model on which a tensor's type may depend.

    Attributes:
        architecture: `general.architecture`, such as "llama".
        n_layers: all blocks, those that predict further tokens (MTP) included.
        n_head: query heads of layer 0.
        n_head_kv: key heads of layer 0; 0 if that layer has no attention.
        n_expert: experts of a layer; 0 for a dense model.
        n_nextn: how many of the blocks are MTP blocks.
        tied: the token embedding is the output head too (no `output.weight`).
        has_importance: an importance matrix will guide the quantization.
    """

    architecture: str
    n_layers: int
    n_head: int
    n_head_kv: int
    n_expert: int = 0
    n_nextn: int = 0
    tied: bool = False
    has_importance: bool = False

    @classmethod
    def of(
        cls,
        metadata: Mapping[str, Field],
        tensor_names: Collection[str],
        has_importance: bool = False,
    ) -> ModelFacts:
        """The facts of the model that has this metadata and these tensors.

        Without `block_count` the tensor names tell the number of layers, so that
        models of an architecture unknown to llama.cpp can be quantized too.

        Raises:
            FormatError: a count in the metadata is not a whole number.
        """
        arch = metadata.get("general.architecture")
        architecture = str(arch.value) if arch else ""

        def number(key: str, default: int) -> int:
            return _number(metadata, f"{architecture}.{key}", default)

        n_named = 1 + max(map(layer_number, tensor_names), default=-1)
        n_head = number("attention.head_count", 0)
        return cls(
            architecture=architecture,
            n_layers=number("block_count", n_named),
            n_head=n_head,
            n_head_kv=number("attention.head_count_kv", n_head),
            n_expert=number("expert_count", 0),
            n_nextn=number("nextn_predict_layers", 0),
            tied="output.weight" not in tensor_names,
            has_importance=has_importance,
        )

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share a key head, rounded down; 0 without attention."""
        return self.n_head // self.n_head_kv if self.n_head_kv else 0

    @property
    def is_70b(self) -> bool:
        """A 70B-class model, whose attn_v is small and cheap to keep precise."""
        if self.architecture == "llama" and self.n_head == self.n_head_kv:
            return False  # LLaMA 65B, which shares no heads
        n_main = self.n_layers - self.n_nextn
        return n_main == _LAYERS_OF_70B.get(self.architecture)


def layer_number(name: str) -> int:
    """The layer that a tensor's name states, or -1."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def _number(metadata: Mapping[str, Field], key: str, default: int) -> int:
    """The number under a key, layer 0's if the key has one for each layer."""
    if key not in metadata:
        return default
    field = metadata[key]
    is_list = field.type is ValueType.ARRAY and len(field.value) > 0
    value = field.value[0] if is_list else field.value
    if not isinstance(value, (int, np.integer)):
        raise FormatError(
            f"metadata {key!r} is {field.value!r}; expected a whole number, or a list "
            "with one for each layer"
        )
    return int(value)
