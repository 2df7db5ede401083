"""Cases of Gemma 3n and 4."""

from __future__ import annotations

from quantkit.gguf.keys import float32

from .case import SIZES, Case

__all__ = ["GEMMA_4S"]

SLIDING, FULL = "sliding_attention", "full_attention"
GEMMA_4 = {
    **SIZES,
    "num_attention_heads": 4,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 8,
    "tie_word_embeddings": True,
}
SMALL = {
    **GEMMA_4,
    "intermediate_size": 160,
    "global_head_dim": 24,
    "num_hidden_layers": 6,
    "layer_types": [SLIDING, FULL] * 3,
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 32,
    "vocab_size_per_layer_input": 112,
    "final_logit_softcapping": 30.0,
}
LARGE = {
    **GEMMA_4,
    "layer_types": [SLIDING, SLIDING, FULL],
    "hidden_size_per_layer_input": 0,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "num_kv_shared_layers": 0,
}
MIXED = {
    **LARGE,
    "enable_moe_block": True,
    "num_experts": 6,
    "top_k_experts": 2,
    "moe_intermediate_size": 40,
}

GEMMA_4S = (
    Case("gemma4-e2b", "Gemma4ForCausalLM", SMALL),
    Case(
        "gemma4-31b",
        "Gemma4ForCausalLM",
        LARGE,
        added={"gemma4.final_logit_softcapping": float32(0)},
    ),
    Case("gemma4-26b", "Gemma4ForCausalLM", {**MIXED, "final_logit_softcapping": 30.0}),
)
