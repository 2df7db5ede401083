"""Cases of Llama's and Qwen's relatives; see case.py."""

from __future__ import annotations

from quantkit.gguf.keys import float32

from . import llama_twins as twins
from .case import SIZES, Case

__all__ = ["LLAMA_RELATIVES"]

HEADS_ALIKE = {**SIZES, "num_key_value_heads": SIZES["num_attention_heads"]}
LINEAR = {"rope_type": "linear", "rope_theta": 100000.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
NTK_ALPHA = {
    "rope_type": "dynamic",
    "rope_theta": 10000.0,
    "alpha": 1000.0,
    "factor": 1.0,
}
GRANITE_SCALES = {
    "attention_multiplier": 0.2,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "logits_scaling": 0.5,
}
MINICPM_SCALES = {**GRANITE_SCALES, "attention_multiplier": 0.25}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
    "original_max_position_embeddings": 256,
}
EXPERTS = {
    **SIZES,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
}
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 56}

LLAMA_RELATIVES = (
    Case(
        "llama-1",
        "LlamaForCausalLM",
        {**HEADS_ALIKE, "rms_norm_eps": 1e-6},
        config_of=twins.old_llama_config,
        rename=twins.with_frequencies,
    ),
    Case(
        "deepseek-coder",
        "LlamaForCausalLM",
        {**SIZES, "rope_parameters": LINEAR},
        config_of=twins.old_style,
    ),
    Case(
        "mistral-0.1",
        "MistralForCausalLM",
        {**SIZES, "sliding_window": 128},
        config_of=twins.old_style,
    ),
    Case(
        "qwen",
        "Qwen2ForCausalLM",
        {**HEADS_ALIKE, "rms_norm_eps": 0.125},
        config_of=twins.qwen_config,
        rename=twins.qwen,
        added={"qwen.attention.layer_norm_rms_epsilon": float32(0.125)},
    ),
    Case("qwen2moe", "Qwen2MoeForCausalLM", SHARED),
    Case(
        "qwen2moe-stacked",
        "Qwen2MoeForCausalLM",
        SHARED,
        rename=twins.experts_in_one,
    ),
    Case(
        "qwen3moe",
        "Qwen3MoeForCausalLM",
        {**EXPERTS, "head_dim": 24, "norm_topk_prob": True},
    ),
    Case("smollm3", "SmolLM3ForCausalLM", {**SIZES, "num_hidden_layers": 5}),
    Case("granite", "GraniteForCausalLM", {**SIZES, **GRANITE_SCALES}),
    Case(
        "granite-bias",
        "GraniteForCausalLM",
        {**SIZES, "attention_bias": True, "mlp_bias": True},
    ),
    Case(
        "minicpm",
        "GraniteForCausalLM",
        {**SIZES, **MINICPM_SCALES, "tie_word_embeddings": True},
        config_of=twins.minicpm_config,
    ),
    Case(
        "minicpm-longrope",
        "GraniteForCausalLM",
        {**SIZES, **MINICPM_SCALES, "rope_parameters": LONGROPE},
        config_of=twins.minicpm_config,
    ),
    Case(
        "internlm2",
        "LlamaForCausalLM",
        SIZES,
        config_of=twins.internlm2_config,
        rename=twins.internlm2,
    ),
    Case(
        "baichuan",
        "LlamaForCausalLM",
        HEADS_ALIKE,
        config_of=twins.baichuan_config,
        rename=twins.baichuan,
    ),
    Case(
        "baichuan-13b",
        "LlamaForCausalLM",
        {**HEADS_ALIKE, "hidden_size": 160, "num_attention_heads": 40}
        | {"num_key_value_heads": 40, "num_hidden_layers": 1},
        config_of=twins.baichuan_config,
        rename=twins.baichuan,
        adapt=twins.with_alibi,
    ),
    Case(
        "ernie4.5", "Ernie4_5ForCausalLM", {**SIZES, "head_dim": 24, "use_bias": True}
    ),
    Case(
        "ernie4.5-fused",
        "Ernie4_5ForCausalLM",
        {**SIZES, "head_dim": None, "tie_word_embeddings": False},
        rename=twins.ernie_fused,
    ),
    Case(
        "exaone4",
        "Exaone4ForCausalLM",
        {
            **SIZES,
            "num_hidden_layers": 5,
            "sliding_window": 8,
            "rope_parameters": LLAMA3,
        },
    ),
    Case(
        "exaone4-full",
        "Exaone4ForCausalLM",
        {**SIZES, "sliding_window": None}
        | {"layer_types": ["full_attention"] * 3, "tie_word_embeddings": True},
    ),
    Case(
        "hunyuan",
        "HunYuanDenseV1ForCausalLM",
        {**SIZES, "head_dim": 24, "max_position_embeddings": 32768}
        | {"rope_parameters": NTK_ALPHA, "num_experts": 1, "tie_word_embeddings": True},
        config_of=twins.old_style,
    ),
)
