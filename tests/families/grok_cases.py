"""Grok 1 and 2; llama.cpp looks GELU up by its argument in half precision."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case

__all__ = ["GROKS"]

Shapes = dict[str, tuple[int, ...]]
N_LAYERS, N_EXPERTS = 2, 3
SHARED = {
    "architectures": ["Grok1ForCausalLM"],
    **{k: v for k, v in SIZES.items() if k != "pad_token_id"},
    "num_experts_per_tok": 2,
    "num_hidden_layers": N_LAYERS,
    "num_local_experts": N_EXPERTS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
GROK_1: dict[str, Any] = {
    **SHARED,
    "model_type": "grok-1",
    "attn_output_multiplier": 0.2,
    "embedding_multiplier_scale": 7.5,
    "output_multiplier_scale": 0.5773502691896257,
}
GROK_2: dict[str, Any] = {
    **SHARED,
    "model_type": "git",
    "attn_factor": 1.0,
    "attn_logit_softcapping": 20.0,
    "attn_temperature_len": 1024,
    "beta_fast": 8,
    "beta_slow": 1,
    "embedding_multiplier_scale": 9.0,
    "extrapolation_factor": 1.0,
    "final_logit_softcapping": 50,
    "global_attn_every_n": 1,
    "head_dim": 16,
    "moe_intermediate_size": 48,
    "original_max_position_embeddings": 64,
    "output_multiplier_scale": 0.5,
    "residual_moe": True,
    "rope_type": "original",
    "router_logit_softcapping": 30.0,
    "scaling_factor": 4.0,
    "sliding_window_size": -1,
}


def in_layers(before: str, layer: Shapes) -> Shapes:
    """The same tensors in each layer."""
    return {
        f"{before}{number}.{name}.weight": shape
        for number in range(N_LAYERS)
        for name, shape in layer.items()
    }


def grok_1() -> Shapes:
    """The names of Grok 1, whose head is stored."""
    layer: Shapes = {
        "multi_head_attention.query": (64, 64),
        "multi_head_attention.key": (32, 64),
        "multi_head_attention.value": (32, 64),
        "multi_head_attention.linear": (64, 64),
        "rms_norm": (64,),
        "rms_norm_1": (64,),
        "rms_norm_2": (64,),
        "rms_norm_3": (64,),
    }
    for i in range(N_EXPERTS):
        layer[f"moe.{i}.linear"] = (96, 64)
        layer[f"moe.{i}.linear_1"] = (64, 96)
        layer[f"moe.{i}.linear_v"] = (96, 64)
    layer["router"] = (N_EXPERTS, 64)
    return {
        "lm_head.weight": (112, 64),
        "transformer.in_out_embed.weight": (112, 64),
        **in_layers("transformer.decoder_layer.", layer),
        "transformer.rms_norm.weight": (64,),
    }


def grok_2() -> Shapes:
    """The names of Grok 2, with a dense part in each layer."""
    layer: Shapes = {}
    for i in range(N_EXPERTS):
        at = f"block_sparse_moe.experts.{i}."
        layer |= {f"{at}w1": (48, 64), f"{at}w2": (64, 48), f"{at}w3": (48, 64)}
    layer |= {
        "block_sparse_moe.gate": (N_EXPERTS, 64),
        "mlp.down_proj": (64, 96),
        "mlp.gate_proj": (96, 64),
        "mlp.up_proj": (96, 64),
        "post_attn_norm": (64,),
        "post_moe_norm": (64,),
        "pre_attn_norm": (64,),
        "pre_moe_norm": (64,),
        "self_attn.k_proj": (32, 64),
        "self_attn.o_proj": (64, 64),
        "self_attn.q_proj": (64, 64),
        "self_attn.v_proj": (32, 64),
    }
    return {
        "lm_head.weight": (112, 64),
        "model.embed_tokens.weight": (112, 64),
        **in_layers("model.layers.", layer),
        "model.norm.weight": (64,),
    }


GROKS = (
    Case("grok", "", GROK_1, shapes=grok_1(), tolerance=1e-3),
    Case("grok-2", "", GROK_2, shapes=grok_2(), tolerance=1e-3),
)
