"""Mixtures of experts of 2024 to 2026, most with a shared expert."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from quantkit.gguf.keys import boolean

from .case import SIZES, YARN, Case, as_version_4, without
from .checkpoints import Arrays
from .llama_twins import renamed
from .stated_layouts import (
    ARCTIC_CONFIG,
    BAILING_CONFIG,
    DEEPSEEK_CONFIG,
    LING_3_VL,
    arctic,
    bailing,
    deepseek,
    ling_3_vl,
    smallthinker,
    smallthinker_config,
)

__all__ = ["ROUTED"]

PHIMOE = {
    **SIZES,
    "num_local_experts": 5,
    "attention_bias": True,
    "lm_head_bias": True,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0, 1.1, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0],
    "short_factor": [1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
}


def longrope(original: int) -> dict[str, Any]:
    """Settings with the scale that llama.cpp's converter computes."""
    growth = SIZES["max_position_embeddings"] / original
    scale = math.sqrt(1 + math.log(growth) / math.log(original))
    return {
        **LONGROPE,
        "original_max_position_embeddings": original,
        "short_mscale": scale,
        "long_mscale": scale,
    }


def of_phimoe(config: dict[str, Any]) -> dict[str, Any]:
    """The config under the name of published checkpoints."""
    return {**config, "architectures": ["PhiMoEForCausalLM"]}


def with_long_factors(model: Any) -> None:
    """Rotate long texts by the long factors, as published code does.

    transformers 5.24 takes the short ones.
    """
    rotary = model.model.rotary_emb
    rotary.rope_init_fn = partial(rotary.rope_init_fn, seq_len=24)


LAGUNA = {
    **SIZES,
    "head_dim": 24,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
    "shared_expert_intermediate_size": 56,
    "moe_routed_scaling_factor": 1.5,
}
WINDOWED = ["full_attention", *["sliding_attention"] * 3] * 2
PARTLY = {"rope_type": "default", "partial_rotary_factor": 0.5}

AFMOE = {
    **SIZES,
    "num_hidden_layers": 5,
    "head_dim": 24,
    "num_dense_layers": 1,
    "moe_intermediate_size": 40,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "num_shared_experts": 2,
    "route_scale": 2.5,
    "sliding_window": 8,
    "mup_enabled": True,
}


def of_afmoe(config: dict[str, Any]) -> dict[str, Any]:
    """The config with keys of published checkpoints."""
    groups = {"n_group": 1, "topk_group": 1}
    return {**config, "route_norm": True, "score_func": "sigmoid", **groups}


LING = {
    **SIZES,
    "head_dim": 16,
    "moe_intermediate_size": 40,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "use_qk_norm": True,
}
LING_NAMES = {
    "model.embed_tokens.": "model.word_embeddings.",
    "self_attn.o_proj.": "attention.dense.",
    "self_attn.q_norm.": "attention.query_layernorm.",
    "self_attn.k_norm.": "attention.key_layernorm.",
    "self_attn.": "attention.",
    "mlp.gate.e_score_correction_bias": "mlp.gate.expert_bias",
}
LING_KEYS = {
    "n_routed_experts": "num_experts",
    "n_shared_experts": "num_shared_experts",
    "attention_bias": "use_qkv_bias",
}


def fused(arrays: Arrays) -> Arrays:
    """A Ling of version 2 from its twin, GLM 4.5."""
    new: Arrays = {}
    for name, array in arrays.items():
        if ".q_proj." in name:
            parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            whole = np.concatenate([arrays[part] for part in parts])
            new[name.replace(".q_proj.", ".query_key_value.")] = whole
        elif ".k_proj." not in name and ".v_proj." not in name:
            new[name] = array
    return renamed(new, LING_NAMES)


def with_predictor(arrays: Arrays) -> Arrays:
    """The same, with a layer that predicts further tokens."""
    ling = fused(arrays)
    last, more = "model.layers.2.", "model.layers.3."
    layer = {k.replace(last, more): a for k, a in ling.items() if last in k}
    norm = ling["model.norm.weight"]
    own = dict.fromkeys(("enorm", "hnorm", "final_layernorm"), norm)
    own["eh_proj"] = np.ones((64, 128), np.float32)
    return ling | layer | {f"{more}{k}.weight": a for k, a in own.items()}


def of_ling(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of Ling 2."""
    older = {LING_KEYS.get(k, k): v for k, v in as_version_4(config).items()}
    own = without("transformers_version", "dtype", "output_router_logits")(older)
    return {
        **own,
        "architectures": ["BailingMoeV2ForCausalLM"],
        "model_type": "bailing_moe_v2",
        "embedding_dropout": 0.0,
        "max_window_layers": 20,
        "moe_router_enable_expert_bias": True,
        "moe_shared_expert_intermediate_size": 40,
        "norm_head": False,
        "norm_softmax": False,
        "num_nextn_predict_layers": 1,
        "output_dropout": 0.0,
        "router_dtype": "fp32",
        "score_function": "sigmoid",
        "use_bias": False,
        "use_rmsnorm": True,
        "use_sliding_window": False,
    }


def of_sarvam(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of Sarvam."""
    dropped = ("partial_rotary_factor", "moe_shared_expert_intermediate_size")
    own = without(*dropped, "num_nextn_predict_layers")(of_ling(config))
    return {
        **own,
        "architectures": ["SarvamMoEForCausalLM"],
        "model_type": "sarvam_moe",
    }


LING_3 = {
    **SIZES,
    "num_key_value_heads": 4,
    "num_hidden_layers": 4,
    "head_dim": 24,
    "layer_group_size": 2,
    "short_conv_kernel_size": 3,
    "kda_lower_bound": -4.0,
    "kv_lora_rank": 40,
    "q_lora_rank": 56,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
    "moe_intermediate_size": 48,
    "num_local_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 6e5},
}
LING_3_KEYS = {
    "model_max_length": "max_position_embeddings",
    "moe_renormalize": "norm_topk_prob",
    "num_expert_group": "n_group",
    "num_experts_per_token": "num_experts_per_tok",
    "num_local_experts": "num_experts",
    "n_shared_experts": "num_shared_experts",
    "num_mtp_layers": "num_nextn_predict_layers",
}


def of_ling_3(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of Ling 3."""
    older = {LING_3_KEYS.get(k, k): v for k, v in as_version_4(config).items()}
    computed = ("linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim")
    own = without(*computed, "layer_types", "mlp_layer_types", "qk_head_dim", "dtype")(
        older
    )
    return {
        **own,
        "architectures": ["BailingMoeV3ForCausalLM"],
        "gated_attention_proj_granularity_type": "head_wise",
        "head_dim": 24,
        "moe_shared_expert_intermediate_size": 48,
        "no_kda_lora": True,
        "num_nextn_predict_layers": 0,
        "score_function": "sigmoid",
    }


DOTS = {
    **SIZES,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 40,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "n_group": 3,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "sliding_window": 8,
}


def of_dots(config: dict[str, Any]) -> dict[str, Any]:
    """The config with a key that the class does not write."""
    return {**config, "scoring_func": "sigmoid"}


DOTS_3 = {
    **SIZES,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "kv_lora_rank": 40,
    "q_lora_rank": 48,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
    "moe_intermediate_size": 40,
    "moe_shared_expert_intermediate_size": 40,
    "n_routed_experts": 5,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "routed_scaling_factor": 2.5,
    "index_n_heads": 8,
    "index_head_dim": 64,
    "index_topk": 9,
    "sliding_window_size": 8,
    "layer_types": ["full_attention", "sliding_attention"] * 2,
    "rope_theta": 5e4,
    "swa_rope_theta": 1e4,
    "swa_head_dim": 36,
    "swa_kv_lora_rank": 56,
    "swa_num_attention_heads": 2,
    "swa_num_key_value_heads": 2,
    "swa_q_lora_rank": 48,
    "swa_qk_nope_head_dim": 24,
    "swa_qk_rope_head_dim": 12,
    "swa_v_head_dim": 16,
}


def of_dots_3(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of dots 3 note, whose keys the class takes away."""
    dropped = ("per_layer_config", "rope_parameters", "mlp_layer_types")
    own = without(*dropped, "sliding_window", "shared_experts_intermediate_size")(
        config
    )
    return {
        **own,
        **{k: v for k, v in DOTS_3.items() if k.startswith("swa_")},
        "apply_mla_qkv_lora_rescale": True,
        "architectures": ["Dots3NoteForCausalLM"],
        "attention_gate_type": "headwise",
        "first_k_dense_replace": 1,
        "k_rope_only_layernorm": True,
        "layer_types": DOTS_3["layer_types"],
        "model_type": "dots3_note",
        "moe_layer_freq": 1,
        "rope_theta": DOTS_3["rope_theta"],
        "scoring_func": "sigmoid",
        "sliding_window_size": DOTS_3["sliding_window_size"],
        "swa_attention_gate_type": "headwise",
        "topk_method": "noaux_tc",
        "use_dsa": True,
    }


def of_dots_3_text(config: dict[str, Any]) -> dict[str, Any]:
    """The text model alone."""
    own = {"architectures": ["Dots3NoteTextForCausalLM"], "layer_types": WINDOWED[:3]}
    return {**of_dots_3(config), **own, "first_k_dense_replace": 2}


def with_dots_predictor(arrays: Arrays) -> Arrays:
    """The same, with a layer that predicts further tokens, as dots 3 note has it."""
    last, more = "model.layers.3.self_attn.", "model.layers.4."
    norm = arrays["model.norm.weight"]
    norms = (
        *("enorm", "hnorm", "shared_head.norm"),
        *("input_layernorm", "post_attention_layernorm"),
    )
    dense = "model.layers.0.mlp."
    parts = {
        **{k.replace(last, "self_attn."): a for k, a in arrays.items() if last in k},
        **{k.replace(dense, "mlp."): a for k, a in arrays.items() if dense in k},
        **{f"{name}.weight": norm for name in norms},
        "eh_proj.weight": np.ones((64, 128), np.float32),
    }
    embedding = arrays["model.embed_tokens.weight"]
    return (
        arrays
        | {f"{more}{name}": array for name, array in parts.items()}
        | {"model.mtp.embed_tokens.weight": embedding}
        | {"vision_encoder.norm.weight": norm}
    )


ROUTED = (
    Case(
        "phimoe",
        "PhimoeForCausalLM",
        {**PHIMOE, "rope_parameters": longrope(64)},
        config_of=of_phimoe,
    ),
    Case(
        "phimoe-long",
        "PhimoeForCausalLM",
        {**PHIMOE, "num_hidden_layers": 2, "rope_parameters": longrope(16)},
        config_of=of_phimoe,
        adapt=with_long_factors,
    ),
    Case(
        "laguna",
        "LagunaForCausalLM",
        {
            **LAGUNA,
            "num_hidden_layers": 5,
            "num_attention_heads_per_layer": [4, 6, 6, 6, 4],
            "layer_types": WINDOWED[:5],
            "sliding_window": 8,
            "rope_parameters": {
                "full_attention": {**YARN, **PARTLY, "rope_type": "yarn"},
                "sliding_attention": {**PARTLY, "rope_theta": 500.0}
                | {"partial_rotary_factor": 1.0},
            },
        },
    ),
    Case(
        "laguna-full",
        "LagunaForCausalLM",
        {
            **LAGUNA,
            "gating": "per-element",
            "sliding_window": 0,
            "mlp_layer_types": ["dense", "dense", "sparse"],
            "tie_word_embeddings": True,
            "rope_parameters": {"full_attention": {**PARTLY, "rope_theta": 1e5}},
        },
    ),
    Case("afmoe", "AfmoeForCausalLM", AFMOE, config_of=of_afmoe),
    Case(
        "afmoe-tied",
        "AfmoeForCausalLM",
        {**AFMOE, "num_key_value_heads": 1, "num_shared_experts": 1}
        | {"num_hidden_layers": 3, "tie_word_embeddings": True, "num_dense_layers": 2},
        added={"afmoe.expert_weights_norm": boolean(True)},
    ),
    Case("bailing-moe", "", BAILING_CONFIG, shapes=bailing(), is_raw=True),
    Case(
        "bailing-moe-2",
        "Glm4MoeForCausalLM",
        LING,
        config_of=of_ling,
        rename=with_predictor,
        is_raw=True,
    ),
    Case(
        "sarvam-moe",
        "Glm4MoeForCausalLM",
        {**LING, "n_group": 1, "topk_group": 1}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 8e6}}
        | {"partial_rotary_factor": 1.0},
        config_of=of_sarvam,
        rename=fused,
        is_raw=True,
    ),
    Case(
        "bailing-moe-3",
        "BailingHybridForCausalLM",
        LING_3,
        config_of=of_ling_3,
        is_raw=True,
    ),
    Case("bailing-moe-3-vl", "", LING_3_VL, shapes=ling_3_vl(), is_raw=True),
    Case("dots1", "Dots1ForCausalLM", {**DOTS, "head_dim": 24}, config_of=of_dots),
    Case(
        "dots1-dense",
        "Dots1ForCausalLM",
        {**DOTS, "num_hidden_layers": 2, "n_group": 1, "topk_group": 1}
        | {"norm_topk_prob": False, "n_shared_experts": 1},
        config_of=of_dots,
    ),
    Case(
        "dots3-note",
        "Dots3NoteForCausalLM",
        DOTS_3,
        config_of=of_dots_3,
        rename=with_dots_predictor,
        is_raw=True,
    ),
    Case(
        "dots3-note-text",
        "Dots3NoteForCausalLM",
        {**DOTS_3, "index_topk": 64, "norm_topk_prob": False}
        | {"num_hidden_layers": 3, "layer_types": WINDOWED[:3]}
        | {"first_k_dense_replace": 2, "tie_word_embeddings": True},
        config_of=of_dots_3_text,
        is_raw=True,
    ),
    Case("deepseek-moe", "", DEEPSEEK_CONFIG, shapes=deepseek(), is_raw=True),
    Case(
        "smallthinker",
        "",
        smallthinker_config(
            rope_layout=[0, 1, 1, 1, 0], sliding_window_layout=[0, 1, 1, 1, 0]
        ),
        shapes=smallthinker(),
        is_raw=True,
    ),
    Case(
        "smallthinker-4b",
        "",
        smallthinker_config(moe_primary_router_apply_softmax=True),
        shapes=smallthinker(),
        is_raw=True,
    ),
    Case("arctic", "", ARCTIC_CONFIG, shapes=arctic(), is_raw=True),
)
