"""Families with an activation function or a mixture of experts of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays

__all__ = ["LATERS"]

XIELU = {"beta": 0.5, "eps": -(2.0**-20)}


def with_xielu(arrays: Arrays) -> Arrays:
    """The numbers of xIELU that no training changes."""
    return {
        name: np.full(array.shape, XIELU.get(name.rpartition(".")[2], 0), np.float32)
        if name.endswith((".act_fn.beta", ".act_fn.eps"))
        else array
        for name, array in arrays.items()
    }


DBRX = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "max_seq_len": 256,
    "vocab_size": 112,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_config": {"clip_qkv": 0.5, "kv_n_heads": 2, "rope_theta": 500000.0},
    "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 5, "moe_top_k": 2},
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}


def dbrx_config(config: dict[str, Any]) -> dict[str, Any]:
    """Nested configs as published, without the keys that every config has."""
    kept = {
        "attn_config": ("attn_pdrop", "clip_qkv", "kv_n_heads", "rope_theta"),
        "ffn_config": (
            *("ffn_act_fn", "ffn_hidden_size", "moe_jitter_eps", "moe_loss_weight"),
            *("moe_normalize_expert_weights", "moe_num_experts", "moe_top_k"),
        ),
    }
    nested = {key: {k: config[key][k] for k in keys} for key, keys in kept.items()}
    return config | nested


GROVE = {
    "architectures": ["GroveMoeForCausalLM"],
    "model_type": "grove_moe",
    **{k: v for k, v in SIZES.items() if k != "intermediate_size"},
    "attention_bias": False,
    "attention_dropout": 0.0,
    "decoder_sparse_step": 1,
    "head_dim": 24,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "mlp_only_layers": [],
    "moe_intermediate_size": 48,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "output_router_logits": False,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "tie_word_embeddings": False,
    "use_cache": True,
}


def grove() -> dict[str, tuple[int, ...]]:
    """Six experts, and one for each two of them."""
    experts = {f"experts.{i}": 48 for i in range(6)}
    experts |= {f"chunk_experts.{i}": 24 for i in range(3)}
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (64,),
        "self_attn.q_proj.weight": (96, 64),
        "self_attn.k_proj.weight": (48, 64),
        "self_attn.v_proj.weight": (48, 64),
        "self_attn.o_proj.weight": (64, 96),
        "self_attn.q_norm.weight": (24,),
        "self_attn.k_norm.weight": (24,),
        "post_attention_layernorm.weight": (64,),
        "mlp.gate.weight": (6, 64),
        "mlp.expert_bias": (6,),
    }
    for name, size in experts.items():
        layer[f"mlp.{name}.gate_proj.weight"] = (size, 64)
        layer[f"mlp.{name}.up_proj.weight"] = (size, 64)
        layer[f"mlp.{name}.down_proj.weight"] = (64, size)
    return {
        "lm_head.weight": (112, 64),
        "model.embed_tokens.weight": (112, 64),
        "model.norm.weight": (64,),
        **{f"model.layers.{i}.{k}": v for i in range(2) for k, v in layer.items()},
    }


LATERS = (
    Case("apertus", "ApertusForCausalLM", SIZES, prepare=with_xielu),
    Case(
        "apertus-biased",
        "ApertusForCausalLM",
        {
            **SIZES,
            "attention_bias": True,
            "head_dim": 24,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        prepare=with_xielu,
    ),
    Case("dbrx", "DbrxForCausalLM", DBRX, config_of=dbrx_config),
    Case("grovemoe", "", GROVE, shapes=grove()),
)
