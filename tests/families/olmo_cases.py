"""Cases of OLMo 1 to 3."""

from __future__ import annotations

from typing import Any

from .case import SIZES, YARN, Case, as_version_4, without

__all__ = ["OLMOS"]


def of_version_4(config: dict[str, Any]) -> dict[str, Any]:
    """As published: one base, and a scaling that windowed layers do not use."""
    scaling = dict(config["rope_parameters"]["full_attention"])
    older = without("rope_parameters")(config)
    return {**older, "rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}


ALL_HEADS = {**SIZES, "num_key_value_heads": 4}

OLMOS = (
    Case("olmo", "OlmoForCausalLM", SIZES),
    Case(
        "olmo-clipped",
        "OlmoForCausalLM",
        {**ALL_HEADS, "clip_qkv": 0.5, "tie_word_embeddings": True},
        config_of=without("num_key_value_heads", "rope_parameters"),
    ),
    Case("olmo2", "Olmo2ForCausalLM", SIZES, config_of=as_version_4),
    Case(
        "olmo3",
        "Olmo3ForCausalLM",
        {
            **SIZES,
            "num_hidden_layers": 5,
            "sliding_window": 8,
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default"},
            },
        },
    ),
    Case(
        "olmo3-published",
        "Olmo3ForCausalLM",
        {
            **SIZES,
            "num_hidden_layers": 5,
            "sliding_window": 8,
            "rope_parameters": {
                "full_attention": {**YARN, "rope_theta": 500000.0},
                "sliding_attention": {"rope_type": "default"},
            },
        },
        config_of=of_version_4,
    ),
)
