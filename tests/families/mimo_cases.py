"""MiMo V2: layers with a window have sinks and more key heads; values are scaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, without
from .checkpoints import Arrays

__all__ = ["MIMOS"]

N_LAYERS = 4
ROPE = {"rope_type": "default", "partial_rotary_factor": 0.5}
MIMO_V2 = {
    **SIZES,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 8,
    "head_dim": 24,
    "v_head_dim": 20,
    "moe_intermediate_size": 48,
    "n_routed_experts": 5,
    "num_experts_per_tok": 2,
    "sliding_window": 8,
    "layer_types": ["full_attention", "sliding_attention"] * 2,
    "rope_parameters": {
        "full_attention": {**ROPE, "rope_theta": 640000.0},
        "sliding_attention": {**ROPE, "rope_theta": 10000.0},
    },
}


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys of published checkpoints."""
    rope = config["rope_parameters"]
    dropped = ("rope_parameters", "layer_types", "mlp_layer_types", "rms_norm_eps")
    own = without(*dropped)(config)
    return {
        **own,
        "add_full_attention_sink_bias": False,
        "add_swa_attention_sink_bias": True,
        "attention_chunk_size": 8,
        "hybrid_layer_pattern": [0, 1, 0, 1],
        "layernorm_epsilon": config["rms_norm_eps"],
        "moe_layer_freq": [0, 1, 1, 1],
        "n_shared_experts": None,
        "partial_rotary_factor": rope["full_attention"]["partial_rotary_factor"],
        "rope_theta": rope["full_attention"]["rope_theta"],
        "routed_scaling_factor": None,
        "scoring_func": "sigmoid",
        "swa_head_dim": config["head_dim"],
        "swa_num_attention_heads": config["num_attention_heads"],
        "swa_num_key_value_heads": 2 * config["num_key_value_heads"],
        "swa_rope_theta": rope["sliding_attention"]["rope_theta"],
        "swa_v_head_dim": config["v_head_dim"],
        "topk_method": "noaux_tc",
    }


def with_next_predictors(arrays: Arrays) -> Arrays:
    """Add the three layers that predict further tokens."""
    dense, windowed = "model.layers.0.mlp.", "model.layers.1.self_attn."
    parts = {
        "eh_proj.weight": np.ones((64, 128), np.float32),
        "enorm.weight": arrays["model.norm.weight"],
        "hnorm.weight": arrays["model.norm.weight"],
        "final_layernorm.weight": arrays["model.norm.weight"],
        "input_layernorm.weight": arrays["model.norm.weight"],
        "pre_mlp_layernorm.weight": arrays["model.norm.weight"],
        **{f"mlp.{k.removeprefix(dense)}": a for k, a in arrays.items() if dense in k},
    }
    attention = {
        f"self_attn.{name.removeprefix(windowed)}": array
        for name, array in arrays.items()
        if windowed in name
    }
    return arrays | {
        f"model.mtp.layers.{number}.{name}": array
        for number in range(3)
        for name, array in (parts | attention).items()
    }


def fused(arrays: Arrays) -> Arrays:
    """The projections of queries, keys and values in one matrix, as in MiMo V2.5."""
    new: Arrays = {}
    for name, array in arrays.items():
        if ".q_proj." in name:
            parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            whole = np.concatenate([arrays[part] for part in parts])
            new[name.replace(".q_proj.", ".qkv_proj.")] = whole
        elif ".k_proj." not in name and ".v_proj." not in name:
            new[name] = array
    return new


def fused_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of MiMo V2.5, with the keys of transformers' class as well."""
    keys = ("layer_types", "mlp_layer_types", "rms_norm_eps")
    return {
        **published_config(config),
        **{key: config[key] for key in keys},
        "architectures": ["MiMoV2ForCausalLM"],
    }


MIMOS = (
    Case(
        "mimo-v2-flash",
        "MiMoV2FlashForCausalLM",
        MIMO_V2,
        config_of=published_config,
        rename=with_next_predictors,
        is_raw=True,
    ),
    Case(
        "mimo-v2.5",
        "MiMoV2FlashForCausalLM",
        {**MIMO_V2, "attention_value_scale": None},
        config_of=fused_config,
        rename=fused,
        is_raw=True,
    ),
)
