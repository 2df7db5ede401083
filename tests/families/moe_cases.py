"""Mixtures of experts of many makers, and dense models of 2025."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .llama_cases import NTK_ALPHA
from .llama_twins import old_style

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
)
