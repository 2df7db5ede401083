"""Jamba: Mamba in most layers, attention without rotation in others; some experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import load_feed_forward
from ..forward.layer import Mixer, Part
from ..forward.layout import Layout
from ..forward.mamba import load_mamba
from ..forward.traits import Traits, nowhere
from ..gguf.keys import Field, ValueType, array, uint32
from .config import FILE_TYPE, n_layers, ordered, required, text_fields
from .family import EXPERT_MATRICES, SILU, Family, Named
from .mamba import RANK_OF
from .space_tensors import BARE, SPACE_LAYER, SPACE_TENSORS, as_stored, mamba_names

__all__ = ["Jamba"]

KV_HEADS = "attention.head_count_kv"


class Jamba(Family):
    """The architecture that llama.cpp calls `jamba`."""

    name = "jamba"
    hf_classes = ("JambaForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "num_key_value_heads": 8,
        "max_position_embeddings": 262144,
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "default_theta": None,
    }
    assumed: ClassVar = {**SILU, "mamba_expand": (2,)}
    rope_types = ()
    renames = ((".moe.", ".feed_forward."),)
    outer = SPACE_TENSORS
    bare = BARE
    inner: ClassVar = {
        **SPACE_LAYER,
        "feed_forward.router": "ffn_gate_inp",
        **mamba_names("mamba"),
        "mamba.dt_layernorm": "ssm_dt_norm",
        "mamba.b_layernorm": "ssm_b_norm",
        "mamba.c_layernorm": "ssm_c_norm",
    }
    experts = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(query_bias="none")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        width, n_kv_heads = (
            required(config, key) for key in ("hidden_size", "num_key_value_heads")
        )
        period, offset = (
            required(config, f"attn_layer_{key}") for key in ("period", "offset")
        )
        heads = [
            n_kv_heads * (i >= offset and (i - offset) % period == 0)
            for i in range(n_layers(config))
        ]
        rank = config.get("mamba_dt_rank")
        rank = -(-width // RANK_OF) if rank in (None, "auto") else rank
        sizes = ("context_length", "embedding_length", "feed_forward_length")
        return {
            **ordered(fields, "block_count", *sizes, "attention.head_count"),
            KV_HEADS: array(ValueType.INT32, heads),
            "ssm.conv_kernel": uint32(required(config, "mamba_d_conv")),
            "ssm.inner_size": uint32(required(config, "mamba_expand") * width),
            "ssm.state_size": uint32(required(config, "mamba_d_state")),
            "ssm.time_step_rank": uint32(rank),
            **ordered(fields, "attention.layer_norm_rms_epsilon"),
            **ordered(fields, "expert_count", "expert_used_count", FILE_TYPE),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if ".mamba." in source:
            tensor = as_stored(source, tensor, None)
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        kv_heads = facts.layer_values(KV_HEADS)
        load_space = partial(load_mamba, norms="weighted")

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            attends = kv_heads is None or kv_heads[number]
            load: Any = load_attention if attends else load_space
            made: Mixer = load(facts, claims, number, traits)
            return made

        traits = Traits(epsilon=facts.rms_epsilon, layout=self.layout, rotates=nowhere)
        return load_decoder(facts, claims, traits, mixer, _load_feed_forward)


def _load_feed_forward(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Part:
    """Experts where a layer has a router, else a dense feed-forward part."""
    if f"blk.{number}.ffn_gate_inp.weight" in claims:
        experts = load_experts(facts, size=facts.inner_size)
        traits = replace(traits, experts=experts)
    return load_feed_forward(facts, claims, number, traits)
