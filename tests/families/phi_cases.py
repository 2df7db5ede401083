"""Cases of Phi 1 to 4."""

from __future__ import annotations

from .case import SIZES, Case, as_version_4, without

__all__ = ["PHIS"]

PLAIN = {
    **SIZES,
    "num_key_value_heads": 4,
    "intermediate_size": 256,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.375,
    },
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.25, 1.5, 2.0, 2.5, 3.0],
    "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    "partial_rotary_factor": 0.75,
}
PHI_4_MINI = {
    **SIZES,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
    "original_max_position_embeddings": 256,
    "rope_parameters": LONG,
}

PHIS = (
    Case("phi2", "PhiForCausalLM", PLAIN, config_of=as_version_4),
    Case(
        "phi2-silent",
        "PhiForCausalLM",
        {**PLAIN, "rope_parameters": None},
        config_of=without(
            "rope_parameters", "num_key_value_heads", "layer_norm_eps", "hidden_act"
        ),
    ),
    Case("phi3", "Phi3ForCausalLM", {**SIZES, "sliding_window": 8}),
    Case("phi3-longrope-short", "Phi3ForCausalLM", PHI_4_MINI),
    Case(
        "phi3-longrope-long",
        "Phi3ForCausalLM",
        {**PHI_4_MINI, "original_max_position_embeddings": 16},
        config_of=as_version_4,
    ),
)
