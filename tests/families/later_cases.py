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
)
