"""Snowflake Arctic: dense layers, and experts beside each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import Gated, load_feed_forward
from ..forward.layer import Part, Sequential
from ..forward.layers import Linear, Norm, gating_named
from ..forward.layout import Layout
from ..forward.one_step import BesideExperts
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS
from .llama import Llama

__all__ = ["Arctic"]


class Arctic(Llama):
    """The architecture that llama.cpp calls `arctic`."""

    name = "arctic"
    hf_classes = ("ArcticForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    rope_types = ("default", "linear", "yarn", "dynamic")
    fills_head_size = False
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "residual_layernorm": "ffn_norm",
        "post_attention_layernorm": "ffn_norm_exps",
        "residual_mlp.w1": "ffn_gate",
        "residual_mlp.w2": "ffn_down",
        "residual_mlp.w3": "ffn_up",
        "block_sparse_moe.gate": "ffn_gate_inp",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    layout: ClassVar[Layout] = Layout()
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Llama.assumed,
        "moe_layer_frequency": (1,),
        "parallel_attn_mlp_res": (True,),
        "use_residual": (True,),
        "enc_index": ([],),
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        experts = load_experts(facts, normed=True, size=facts.inner_size)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
        )

        def wrap(layer: Sequential, number: int) -> BesideExperts:
            name = f"blk.{number}.ffn_norm_exps.weight"
            weight = claims.vector(name, facts.width)
            norm = Norm(weight, None, traits.epsilon, centered=False)
            mixed = replace(traits, experts=experts)
            return BesideExperts(
                layer, load_feed_forward(facts, claims, number, mixed), norm
            )

        return load_decoder(facts, claims, traits, feed_forward=_load_square, wrap=wrap)


def _load_square(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The dense part of layer `number`, which is as wide inside as outside."""
    at, width = f"blk.{number}.ffn_", facts.width
    gate, up, down = (
        Linear.of(claims, f"{at}{part}", width, width)
        for part in ("gate", "up", "down")
    )
    return Gated(gate, up, down, gating_named(traits.activation))
