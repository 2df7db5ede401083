"""Hunyuan 3: experts by sigmoids and a bias, a shared expert, norms of heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import Mixture, load_dense, load_feed_forward
from ..forward.layer import Part
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import required, text_fields
from .family import DECODER_LAYER, SILU, Family, Tensors
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields

__all__ = ["HunYuan3"]

SIGMOID = 2
"""The number of the gating function."""

SHARED_SIZE = "expert_shared_feed_forward_length"


class HunYuan3(Family):
    """The architecture that llama.cpp calls `hy_v3`."""

    name = "hy_v3"
    hf_classes = ("HYV3ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "default_theta": 11158840.0,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_experts": 192,
        "num_experts_per_tok": 8,
        "num_shared_experts": 1,
        "moe_intermediate_size": 1536,
        "router_scaling_factor": 2.826,
        "route_norm": True,
    }
    renames: ClassVar = ((".mlp.expert_bias", ".mlp.expert_bias.weight"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        **PREDICTOR,
        "final_layernorm": "nextn.shared_head_norm",
        "mlp.router.gate": "ffn_gate_inp",
        "mlp.expert_bias": "exp_probs_b",
        "mlp.shared_mlp.gate_proj": "ffn_gate_shexp",
        "mlp.shared_mlp.up_proj": "ffn_up_shexp",
        "mlp.shared_mlp.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = {
        "down_proj": "ffn_down_exps",
        "gate_proj": "ffn_gate_exps",
        "up_proj": "ffn_up_exps",
    }
    layout: ClassVar[Layout] = Layout(query_norms="required")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "moe_router_enable_expert_bias": (True,),
        "moe_router_use_sigmoid": (True,),
        "qk_norm": (True,),
    }

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        inner, n_shared, scale = (
            required(config, key)
            for key in (
                "moe_intermediate_size",
                "num_shared_experts",
                "router_scaling_factor",
            )
        )
        return {
            **text_fields(config, file_type),
            "block_count": uint32(n_blocks(config)),
            EXPERT_SIZE: uint32(inner),
            SHARED_SIZE: uint32(inner * n_shared),
            "expert_weights_norm": boolean(required(config, "route_norm")),
            "expert_weights_scale": float32(scale),
            "expert_gating_func": uint32(SIGMOID),
            **(predictor_fields(config) if n_predictors(config) else {}),
        }

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor; the bias of experts has no ending."""
        name = super().gguf_name(source, config)
        return name.removesuffix(".weight") if "exp_probs_b" in name else name

    def check(self, config: Config, stored: Tensors) -> None:
        """Refuse a checkpoint that lacks a required tensor, or contradicts its config.

        Raises:
            CheckpointError: other layers have experts than config.json says.
        """
        super().check(config, stored)
        kinds = config.get("mlp_layer_types") or ()
        n_dense = config.get("first_k_dense_replace")
        if not kinds and n_dense is not None:
            kinds = ["dense"] * n_dense
        for layer, kind in enumerate(kinds):
            name = f"model.layers.{layer}.mlp.router.gate.weight"
            if (name in stored) != (kind == "sparse"):
                raise CheckpointError(
                    f"config.json says that the feed-forward part of layer {layer} is "
                    f"{kind}, but the checkpoint's is not; config.json does not belong "
                    "to these weights"
                )

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(
                facts,
                gating=gating_of(facts, "sigmoid"),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                shared_size=lambda layer: facts.size(SHARED_SIZE),
            ),
        )
        return load_decoder(facts, claims, traits, feed_forward=_load_part)


def _load_part(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The feed-forward part of layer `number`, dense if it has no router."""
    at = f"blk.{number}."
    if f"{at}ffn_gate_inp.weight" not in claims:
        return load_dense(facts, claims, number, traits)
    part = load_feed_forward(facts, claims, number, traits)
    assert isinstance(part, Mixture)
    bias = claims.vector(f"{at}exp_probs_b", part.how.count)
    return replace(part, choice_bias=bias)
