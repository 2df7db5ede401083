"""Falcon-H1: Mamba-2 and attention beside each other in every layer."""

from __future__ import annotations

from .case import SIZES, Case

__all__ = ["FALCON_H1S"]

SPACE = {
    "mamba_d_ssm": 96,
    "mamba_n_heads": 6,
    "mamba_d_head": 16,
    "mamba_n_groups": 2,
    "mamba_d_state": 20,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "num_hidden_layers": 2,
}
MULTIPLIERS = {
    "lm_head_multiplier": 0.7,
    "embedding_multiplier": 3.5,
    "mlp_multipliers": [0.8, 1.3],
    "key_multiplier": 0.6,
    "attention_out_multiplier": 0.9,
    "attention_in_multiplier": 1.1,
    "ssm_multipliers": [0.7, 0.8, 0.9, 1.2, 1.4],
    "ssm_in_multiplier": 1.25,
    "ssm_out_multiplier": 0.4,
}

FALCON_H1S = (
    Case(
        "falcon-h1",
        "FalconH1ForCausalLM",
        {**SIZES, **SPACE, **MULTIPLIERS, "head_dim": 24},
    ),
    Case(
        "falcon-h1-norm",
        "FalconH1ForCausalLM",
        {
            **SIZES,
            **SPACE,
            "head_dim": 16,
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": False,
            "tie_word_embeddings": True,
        },
    ),
)
