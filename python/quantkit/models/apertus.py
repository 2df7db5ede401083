"""Apertus: normalized queries and keys, a plain feed-forward part with xIELU.

The activation function has numbers of its own in each layer: tensors of the checkpoint,
and metadata in GGUF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import values_of
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.xielu import XIELU_KEYS, load_xielu
from ..gguf.keys import Field, ValueType, array, uint32
from .config import head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, Family, Named, Tensors
from .rope_config import llama3_tensor

__all__ = ["Apertus"]

XIELU = "xielu_numbers"
"""The key, in a complete config, of the numbers of the activation functions."""
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 12000000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
"""What the config class assumes if config.json has no rope settings."""


class Apertus(Family):
    """The architecture that llama.cpp calls `apertus`."""

    name = "apertus"
    hf_classes = ("ApertusForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 12000000.0,
        "hidden_act": "xielu",
        "max_position_embeddings": 65536,
        "num_key_value_heads": None,
        "rms_norm_eps": 1e-5,
    }
    assumed: ClassVar = {"hidden_act": ("xielu",)}
    rope_types = (*Family.rope_types, "llama3")
    inner: ClassVar = {
        **DECODER_LAYER,
        "attention_layernorm": "attn_norm",
        "feedforward_layernorm": "ffn_norm",
    }
    skipped: ClassVar = tuple(f".act_fn.{part}" for part in XIELU_KEYS)
    layout: ClassVar[Layout] = Layout(
        head="required",
        query_norms="required",
        attention_bias="optional",
        gate="none",
        frequencies="optional",
        long_frequencies="stated",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        stated = ("rope_parameters", "rope_scaling", "rope_theta")
        if all(whole.get(key) is None for key in stated):
            whole["rope_parameters"] = dict(ROPE)
        return whole

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with the numbers of the activation functions.

        Raises:
            CheckpointError: one is missing, or no number.
        """
        numbers = {
            part: [_number(stored, i, part) for i in range(n_layers(config))]
            for part in XIELU_KEYS
        }
        return {**config, XIELU: numbers}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
        }

    def early_fields(self, config: Config) -> dict[str, Field]:
        """Metadata that precedes all other keys: the numbers of xIELU."""
        return {
            key: array(ValueType.FLOAT32, config[XIELU][part])
            for part, key in XIELU_KEYS.items()
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of Llama 3.1."""
        yield from llama3_tensor(config, head_size(config))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits, feed_forward=load_xielu)


def _number(stored: Tensors, layer: int, part: str) -> float:
    """One of the numbers of a layer's activation function."""
    name = f"model.layers.{layer}.mlp.act_fn.{part}"
    tensor = stored.get(name)
    if tensor is None or math.prod(tensor.shape) != 1:
        raise CheckpointError(
            f"the checkpoint has no {name!r} with one number; a shard is missing"
        )
    value = float(values_of(tensor).ravel()[0])
    if not np.isfinite(value):
        raise CheckpointError(f"{name!r} is {value}; expected a finite number")
    return value
