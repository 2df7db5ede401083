"""Cases of StableLM."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case, as_version_4, without

__all__ = ["STABLELMS"]


def of_the_first_class(config: dict[str, Any]) -> dict[str, Any]:
    """The config as of the class that came with the first models."""
    older = without("layer_norm_eps", "use_parallel_residual")(as_version_4(config))
    return {
        **older,
        "architectures": ["StableLMEpochForCausalLM"],
        "model_type": "stablelm_epoch",
        "norm_eps": config["layer_norm_eps"],
        "rope_pct": older.pop("partial_rotary_factor"),
    }


STABLELMS = (
    Case("stablelm", "StableLmForCausalLM", SIZES, config_of=of_the_first_class),
    Case("stablelm-bias", "StableLmForCausalLM", {**SIZES, "use_qkv_bias": True}),
    Case(
        "stablelm-parallel",
        "StableLmForCausalLM",
        {
            **SIZES,
            "hidden_size": 96,
            "num_attention_heads": 12,
            "use_parallel_residual": True,
            "qk_layernorm": True,
            "partial_rotary_factor": 0.75,
        },
        config_of=as_version_4,
    ),
)
