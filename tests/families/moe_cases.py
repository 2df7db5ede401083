"""Mixtures of experts of many makers, and dense models of 2025."""

from __future__ import annotations

from typing import Any

from quantkit.gguf.keys import float32, uint32

from .case import SIZES, Case, without
from .checkpoints import Arrays, weights
from .llama_cases import LLAMA3, NTK_ALPHA
from .llama_twins import old_style, renamed

__all__ = ["MOES"]

EXPERTS = {**SIZES, "num_experts": 6, "num_experts_per_tok": 2}
ERNIE = {
    **SIZES,
    "moe_num_experts": 6,
    "moe_k": 3,
    # llama.cpp's converter divides the dense width by the number of key heads
    "moe_intermediate_size": 24,
    "use_bias": False,
}
HUNYUAN = {**SIZES, "head_dim": 24, "num_experts": 6, "moe_topk": [2, 2, 2]}
SIZES_BY_LAYER = {"moe_intermediate_size": [96] * 3, "num_shared_expert": [1] * 3}
EXAONE_MOE = {
    **EXPERTS,
    "num_hidden_layers": 5,
    "head_dim": 24,
    "moe_intermediate_size": 40,
    "num_shared_experts": 2,
    "sliding_window": 8,
}
EXAONE_NAMES = {
    "model.embed_tokens.": "transformer.wte.",
    "model.norm.": "transformer.ln_f.",
    "model.layers.": "transformer.h.",
    "self_attn.o_proj.": "attn.attention.out_proj.",
    "self_attn.": "attn.attention.",
    "input_layernorm.": "ln_1.",
    "post_attention_layernorm.": "ln_2.",
    "mlp.gate_proj.": "mlp.c_fc_0.",
    "mlp.up_proj.": "mlp.c_fc_1.",
    "mlp.down_proj.": "mlp.c_proj.",
}


def of_exaone(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of EXAONE 3.5."""
    names = {
        "num_hidden_layers": "num_layers",
        "rms_norm_eps": "layer_norm_epsilon",
        "hidden_act": "activation_function",
    }
    older = {names.get(key, key): value for key, value in old_style(config).items()}
    older |= {"architectures": ["ExaoneForCausalLM"], "model_type": "exaone"}
    return without("attention_bias", "mlp_bias", "pretraining_tp")(older)


def of_k_exaone(config: dict[str, Any]) -> dict[str, Any]:
    """The config with a key that transformers' class does not write."""
    return {**config, "scoring_func": "sigmoid"}


def with_predictor(arrays: Arrays) -> Arrays:
    """Adds a dense layer that predicts the token after the next, as published."""
    at = "model.layers.0."
    layer = {
        f"mtp.layers.0.{name.removeprefix(at)}": array
        for name, array in arrays.items()
        if name.startswith(at)
    }
    shapes = {
        "mtp.fc.weight": (64, 128),
        "mtp.pre_fc_norm_embedding.weight": (64,),
        "mtp.pre_fc_norm_hidden.weight": (64,),
        "mtp.norm.weight": (64,),
    }
    return {**arrays, **layer, **weights(shapes)}


def of_hunyuan(config: dict[str, Any]) -> dict[str, Any]:
    """The config as published, with settings for each layer."""
    return {**config, **SIZES_BY_LAYER}


def of_stretched(config: dict[str, Any]) -> dict[str, Any]:
    """The same of one layer, with rope scaling as published."""
    by_layer = {"moe_intermediate_size": [32], "num_shared_expert": [1]}
    return {**old_style(config), **by_layer}


MOES = (
    Case("olmoe", "OlmoeForCausalLM", {**EXPERTS, "num_key_value_heads": 4}),
    Case("olmoe-grouped", "OlmoeForCausalLM", EXPERTS),
    Case(
        "seed-oss",
        "SeedOssForCausalLM",
        {**SIZES, "head_dim": 24, "attention_bias": True, "attention_out_bias": False},
    ),
    Case(
        "seed-oss-tied",
        "SeedOssForCausalLM",
        {**SIZES, "head_dim": None, "attention_bias": False}
        | {"tie_word_embeddings": True},
    ),
    Case("ernie4.5-moe", "Ernie4_5_MoeForCausalLM", ERNIE),
    Case(
        "ernie4.5-moe-alone",
        "Ernie4_5_MoeForCausalLM",
        {**ERNIE, "moe_num_shared_experts": 0, "moe_layer_start_index": 2}
        | {"tie_word_embeddings": False},
    ),
    Case("hunyuan-moe", "HunYuanMoEV1ForCausalLM", HUNYUAN, config_of=of_hunyuan),
    Case(
        "hunyuan-moe-stretched",
        "HunYuanMoEV1ForCausalLM",
        {**HUNYUAN, "head_dim": 128, "num_hidden_layers": 1, "moe_topk": [1]}
        | {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1}
        | {"intermediate_size": 32, "max_position_embeddings": 32768}
        | {"tie_word_embeddings": True, "num_experts": 3}
        | {"rope_parameters": NTK_ALPHA},
        config_of=of_stretched,
    ),
    Case("arcee", "ArceeForCausalLM", {**SIZES, "head_dim": 24}),
    Case(
        "exaone",
        "LlamaForCausalLM",
        {**SIZES, "rope_parameters": LLAMA3, "tie_word_embeddings": True},
        config_of=of_exaone,
        rename=lambda arrays: renamed(arrays, EXAONE_NAMES),
        is_raw=True,
        added={"exaone.attention.layer_norm_rms_epsilon": float32(1e-6)},
    ),
    Case("exaone-moe", "ExaoneMoeForCausalLM", EXAONE_MOE, config_of=of_k_exaone),
    Case(
        "exaone-moe-mtp",
        "ExaoneMoeForCausalLM",
        {**EXAONE_MOE, "num_hidden_layers": 2, "first_k_dense_replace": 1}
        | {"layer_types": ["sliding_attention", "full_attention"]},
        config_of=lambda config: {**of_k_exaone(config), "num_nextn_predict_layers": 1},
        rename=with_predictor,
    ),
    Case(
        "exaone-moe-dense",
        "ExaoneMoeForCausalLM",
        {
            **EXAONE_MOE,
            "num_hidden_layers": 3,
            "first_k_dense_replace": 2,
            "norm_topk_prob": False,
            "n_group": 3,
            "topk_group": 2,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "rope_parameters": LLAMA3,
        },
        added={"exaone-moe.expert_gating_func": uint32(2)},
    ),
)
