"""Jais 2: LayerNorm, biases everywhere, a plain feed-forward part with squared ReLU."""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import head_size, text_fields
from .family import DECODER_LAYER, Family

__all__ = ["Jais2"]


class Jais2(Family):
    """The architecture that llama.cpp calls `jais2`."""

    name = "jais2"
    hf_classes = ("Jais2ForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "num_key_value_heads": None,
        "hidden_act": "relu2",
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": ("relu2",),
        "attention_bias": (True,),
        "mlp_bias": (True,),
    }
    inner: ClassVar = {k: v for k, v in DECODER_LAYER.items() if "gate" not in k}
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        attention_bias="required",
        gate="none",
        feed_forward_bias="required",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        return {**whole, "head_dim": head_size(whole)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = uint32(head_size(config))
        return {**text_fields(config, file_type), "rope.dimension_count": size}

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="relu_squared",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
