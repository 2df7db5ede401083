"""Seed-OSS: Llama with biases of queries, keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field
from .config import head_size, text_fields
from .family import DECODER_LAYER, SILU, Family

__all__ = ["SeedOss"]


class SeedOss(Family):
    """The architecture that llama.cpp calls `seed_oss`."""

    name = "seed_oss"
    hf_classes = ("SeedOssForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 524288,
        "rms_norm_eps": 1e-6,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_out_bias": (False,),
        "mlp_bias": (False,),
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "post_attention_layernorm": "post_attention_norm",
    }
    layout: ClassVar[Layout] = Layout(feed_forward_norm_name="post_attention_norm")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        return {**whole, "head_dim": head_size(whole)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
