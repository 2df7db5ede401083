"""The model properties that recipes use, from GGUF metadata and tensor names.

Sources: the GGUF format document (ggml/docs/gguf.md) for the keys; llama.cpp's layer
counts of model sizes for the 70B class.
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

# Architecture -> number of layers of its 70B model.
_LAYERS_OF_70B = {"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}

# Architecture -> layers that llama.cpp's loader adds: they have no tensors.
_WITHOUT_TENSORS = {"graniteswitch": 1}


@dataclass(frozen=True)
class ModelFacts:
    """The properties of a model that determine tensor types.

    Attributes:
        architecture: `general.architecture`, such as "llama".
        n_layers: the number of layers, including multi-token prediction (MTP) layers,
            and those without tensors; layers that run several times count as often.
        n_head: query heads of layer 0.
        n_head_kv: KV heads of layer 0; 0 if that layer has no attention.
        n_expert: experts per layer; 0 for a dense model.
        n_nextn: the number of MTP layers.
        tied: the token embedding is also the output head (no `output.weight`).
        has_importance: whether an importance matrix is used.
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
        """The facts of the model with this metadata and these tensors.

        Without `block_count` the number of layers comes from the tensor names, so that
        models with unknown architectures can be quantized, too.

        Raises:
            FormatError: a count in the metadata is not an integer.
        """
        arch = metadata.get("general.architecture")
        architecture = str(arch.value) if arch else ""

        def number(key: str, default: int) -> int:
            return _number(metadata, f"{architecture}.{key}", default)

        n_named = 1 + max(map(layer_number, tensor_names), default=-1)
        n_head = number("attention.head_count", 0)
        return cls(
            architecture=architecture,
            n_layers=number("block_count", n_named) * max(number("num_loops", 1), 1)
            + _WITHOUT_TENSORS.get(architecture, 0),
            n_head=n_head,
            n_head_kv=number("attention.head_count_kv", n_head),
            n_expert=number("expert_count", 0),
            n_nextn=number("nextn_predict_layers", 0),
            tied="output.weight" not in tensor_names,
            has_importance=has_importance,
        )

    @property
    def heads_per_kv(self) -> int:
        """Query heads per KV head, rounded down; 0 without attention."""
        return self.n_head // self.n_head_kv if self.n_head_kv else 0

    @property
    def is_70b(self) -> bool:
        """Whether this is a 70B-class model, where a better attn_v costs little."""
        if self.architecture == "llama" and self.n_head == self.n_head_kv:
            return False  # LLaMA 65B, which has no grouped-query attention
        n_main = self.n_layers - self.n_nextn
        return n_main == _LAYERS_OF_70B.get(self.architecture)


def layer_number(name: str) -> int:
    """The layer number in a tensor's name, or -1."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def _number(metadata: Mapping[str, Field], key: str, default: int) -> int:
    """The number of a key; layer 0's if the key has one per layer."""
    if key not in metadata:
        return default
    field = metadata[key]
    is_list = field.type is ValueType.ARRAY and len(field.value) > 0
    value = field.value[0] if is_list else field.value
    if not isinstance(value, (int, np.integer)):
        raise FormatError(
            f"metadata {key!r} is {field.value!r}; expected an integer, or a list with "
            "one per layer"
        )
    return int(value)
