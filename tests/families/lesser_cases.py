"""Families with few differences from others: HY 3, InternLM 3, Nemotron, Orion ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, without
from .checkpoints import Arrays
from .llama_twins import old_style

__all__ = ["LESSERS"]

N_LAYERS = 3


def of_class(name: str, kind: str, *dropped: str) -> Any:
    """The config of another class, without some keys."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        own = without(*dropped)(old_style(config))
        return {**own, "architectures": [name], "model_type": kind}

    return config_of


def internlm3_config(config: dict[str, Any]) -> dict[str, Any]:
    """Its rotation changes only beyond the training length."""
    own = of_class("InternLM3ForCausalLM", "internlm3", "attention_bias", "mlp_bias")
    return {
        **own(config),
        "bias": False,
        "qkv_bias": False,
        "head_dim": config["head_dim"],
        "rope_scaling": {"rope_type": "dynamic", "factor": 6.0},
    }


def orion_config(config: dict[str, Any]) -> dict[str, Any]:
    """Orion from StableLM; its LayerNorm's epsilon has the name of RMSNorm's."""
    stated = (
        *("hidden_act", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "num_key_value_heads", "vocab_size"),
        *("max_position_embeddings", "tie_word_embeddings", "initializer_range"),
    )
    return {
        **{key: config[key] for key in stated},
        "architectures": ["OrionForCausalLM"],
        "model_type": "orion",
        "max_sequence_length": config["max_position_embeddings"],
        "rms_norm_eps": config["layer_norm_eps"],
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def hy_v3(arrays: Arrays) -> Arrays:
    """With a layer that predicts the token after the next."""
    last, more = (f"model.layers.{i}." for i in (N_LAYERS - 1, N_LAYERS))
    layer = {k.replace(last, more): a for k, a in arrays.items() if k.startswith(last)}
    own = {
        "enorm": arrays["model.norm.weight"],
        "hnorm": arrays["model.norm.weight"],
        "final_layernorm": arrays["model.norm.weight"],
        "eh_proj": np.ones((64, 128), np.float32),
    }
    return arrays | layer | {f"{more}{name}.weight": a for name, a in own.items()}


def hy_v3_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with keys that transformers' class does not write."""
    return {
        **config,
        "moe_router_enable_expert_bias": True,
        "moe_router_use_sigmoid": True,
        "num_nextn_predict_layers": 1,
        "qk_norm": True,
        "route_norm": True,
    }


LESSERS = (
    Case(
        "hy-v3",
        "HYV3ForCausalLM",
        {
            **SIZES,
            "head_dim": 24,
            "moe_intermediate_size": 48,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "num_shared_experts": 2,
        },
        config_of=hy_v3_config,
        rename=hy_v3,
    ),
    Case(
        "internlm3",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 24, "rms_norm_eps": 1e-5},
        config_of=internlm3_config,
    ),
    Case(
        "xverse",
        "LlamaForCausalLM",
        {**SIZES, "num_key_value_heads": 4},
        config_of=of_class(
            *("XverseForCausalLM", "xverse", "head_dim", "attention_bias", "mlp_bias"),
            *("num_key_value_heads", "pretraining_tp"),
        ),
    ),
    Case(
        "orion",
        "StableLmForCausalLM",
        {**SIZES, "partial_rotary_factor": 1.0},
        config_of=orion_config,
    ),
    Case(
        "nemotron",
        "NemotronForCausalLM",
        {**SIZES, "partial_rotary_factor": 0.5},
    ),
    Case(
        "starcoder",
        "GPTBigCodeForCausalLM",
        {
            "n_embd": 64,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 256,
            "vocab_size": 112,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
)
