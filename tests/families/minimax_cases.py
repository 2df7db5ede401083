"""MiniMax M2: norms over all heads, heads that rotate in part, experts by sigmoids."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .llama_twins import old_style

__all__ = ["MINIMAXES"]


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys of published checkpoints."""
    return {
        **old_style(config),
        "attn_type_list": [1] * config["num_hidden_layers"],
        "qk_norm_type": "per_layer",
        "scoring_func": "sigmoid",
        "shared_intermediate_size": 0,
        "shared_moe_mode": "sigmoid",
        "sliding_window": None,
        "use_mtp": True,
        "num_mtp_modules": 3,
        "mtp_transformer_layers": 1,
        "use_qk_norm": True,
        "use_routing_bias": True,
    }


MINIMAXES = (
    Case(
        "minimax-m2",
        "MiniMaxM2ForCausalLM",
        {
            **SIZES,
            "head_dim": 24,
            "rotary_dim": 12,
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
        },
        config_of=published_config,
    ),
)
