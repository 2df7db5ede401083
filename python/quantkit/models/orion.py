"""Orion: Llama with LayerNorm, whose epsilon the config calls `rms_norm_eps`."""

from __future__ import annotations

from typing import ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, first, n_layers, required
from .family import Family
from .rope_config import unassumed_rotary_fields
from .xverse import DATA_LAYOUT

__all__ = ["Orion"]

CONTEXT = ("max_sequence_length", "max_position_embeddings", "model_max_length")


class Orion(Family):
    """The architecture that llama.cpp calls `orion`."""

    name = "orion"
    hf_classes = ("OrionForCausalLM",)
    layout: ClassVar[Layout] = Layout(head="required", norm_bias="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        n_heads = required(config, "num_attention_heads")
        counts = {
            "context_length": required(config, *CONTEXT),
            "embedding_length": required(config, "hidden_size"),
            "block_count": n_layers(config),
            "feed_forward_length": required(config, "intermediate_size"),
            "attention.head_count": n_heads,
            "attention.head_count_kv": first(config, "num_key_value_heads") or n_heads,
        }
        return {
            FILE_TYPE: uint32(file_type),
            **DATA_LAYOUT,
            **{key: uint32(value) for key, value in counts.items()},
            "attention.layer_norm_epsilon": float32(required(config, "rms_norm_eps")),
            **unassumed_rotary_fields(config),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
