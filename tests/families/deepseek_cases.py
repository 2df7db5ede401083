"""DeepSeek V2 and V3: latent attention, groups of experts, YaRN with its own scale."""

from __future__ import annotations

from typing import Any

from .case import SIZES, YARN, Case

__all__ = ["DEEPSEEKS"]


def with_sigmoid(config: dict[str, Any]) -> dict[str, Any]:
    """As published: transformers' class has no key for what its scores are."""
    return {**config, "scoring_func": "sigmoid"}


LATENT = {
    **SIZES,
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

DEEPSEEKS = (
    Case(
        "deepseek-v2-lite",
        "DeepseekV2ForCausalLM",
        {**LATENT, "q_lora_rank": None, "routed_scaling_factor": 1.0},
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
        config_of=with_sigmoid,
    ),
)
