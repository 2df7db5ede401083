"""Command-R: parallel attention and feed-forward parts, LayerNorm without a bias.

Heads rotate neighbouring components, both in the checkpoint and in GGUF.  Command-R+
normalizes each head of queries and keys with its own weights.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string
from ..settings import checked
from .config import first, required, text_fields
from .config_kinds import FINITE
from .family import SILU, Family

__all__ = ["Cohere", "logit_scale"]


class Cohere(Family):
    """The architecture that llama.cpp calls `command-r`."""

    name = "command-r"
    hf_classes = ("CohereForCausalLM",)
    defaults: ClassVar = {
        "num_key_value_heads": None,
        "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5,
        "logit_scale": 0.0625,
        "default_theta": 500000.0,
        "tie_word_embeddings": True,
    }
    outer: ClassVar = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    assumed: ClassVar = {**SILU, "tie_word_embeddings": (True,)}
    rope_types = ("default", "dynamic")
    layout: ClassVar[Layout] = Layout(
        head="none",
        feed_forward_norm="none",
        query_norms="optional",
        query_norm_span="heads",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        In old configs `max_position_embeddings` is the limit of the first
        implementation, and `model_max_length` is the model's context length.
        """
        config = super().complete(config)
        context = first(config, "model_max_length", "max_position_embeddings")
        return {**config, "max_position_embeddings": context}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "logit_scale": logit_scale(config),
            "rope.scaling.type": string("none"),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            parallel=True,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            logit_scale=facts.number("logit_scale", 1.0) or 1.0,
        )
        return load_decoder(facts, claims, traits)


def logit_scale(config: Config) -> Field:
    """What multiplies the logits; other families have a text under this key."""
    scale = required(config, "logit_scale")
    return float32(checked(scale, FINITE, "config.json: logit_scale"))
