"""DeepSeek V2 and V3: latent attention, groups of experts, YaRN with its own scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, YARN, Case, as_version_4, without
from .checkpoints import Arrays

__all__ = ["DEEPSEEKS"]

N_LAYERS = 3


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config without a key that transformers' class writes today."""
    return without("head_dim")(as_version_4(config))


def published_v3_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with keys that transformers' class does not write."""
    return {
        **published_config(config),
        "moe_layer_freq": 1,
        "num_nextn_predict_layers": 1,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
    }


def with_next_predictor(arrays: Arrays) -> Arrays:
    """Add the multi-token prediction layer after the last layer."""
    last, more = (f"model.layers.{i}." for i in (N_LAYERS - 1, N_LAYERS))
    layer = {
        name.replace(last, more): array
        for name, array in arrays.items()
        if name.startswith(last)
    }
    own = {
        "embed_tokens": arrays["model.embed_tokens.weight"],
        "enorm": arrays["model.norm.weight"],
        "hnorm": arrays["model.norm.weight"],
        "eh_proj": np.ones((64, 128), np.float32),
        "shared_head.norm": arrays["model.norm.weight"],
        "shared_head.head": arrays["lm_head.weight"],
    }
    return arrays | layer | {f"{more}{name}.weight": a for name, a in own.items()}


LATENT = {
    **SIZES,
    "num_hidden_layers": N_LAYERS,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "q_lora_rank": 40,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
    "moe_intermediate_size": 48,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
}
INDEXED = {
    **LATENT,
    "index_n_heads": 8,
    "index_head_dim": 128,
    "index_topk": 9,
}

DEEPSEEKS = (
    Case(
        "deepseek-v2-lite",
        "DeepseekV2ForCausalLM",
        {**LATENT, "q_lora_rank": None, "routed_scaling_factor": 1.0},
        config_of=published_config,
    ),
    Case(
        "deepseek-v2",
        "DeepseekV2ForCausalLM",
        {
            **LATENT,
            "topk_method": "group_limited_greedy",
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
        config_of=published_config,
    ),
    Case(
        "deepseek-v3",
        "DeepseekV3ForCausalLM",
        {
            **LATENT,
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        config_of=published_v3_config,
        rename=with_next_predictor,
    ),
    Case(
        "deepseek-v3.2",
        "DeepseekV32ForCausalLM",
        {
            **INDEXED,
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        config_of=published_v3_config,
        rename=with_next_predictor,
    ),
    Case(
        "deepseek-v3.2-plain",
        "DeepseekV32ForCausalLM",
        {**INDEXED, "n_group": 1, "topk_group": 1, "norm_topk_prob": False},
        config_of=lambda config: {**config, "scoring_func": "sigmoid"},
    ),
)
