"""Nemotron-H: layers of Mamba-2, of attention, and of a feed-forward part, by turns."""

from __future__ import annotations

import re
from typing import Any

from .case import SIZES, Case, without
from .checkpoints import Arrays, weights

__all__ = ["MAMBAS"]

SPACE = {
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "ssm_state_size": 20,
    "conv_kernel": 4,
}
NEMOTRON = {
    **without("num_hidden_layers")(SIZES),
    **SPACE,
    "head_dim": 24,
    "vocab_size": 112,
}


def with_pattern(config: dict[str, Any]) -> dict[str, Any]:
    """The config as published: the layers' kinds are the letters of a string."""
    letters = {kind: letter for letter, kind in KINDS.items()}
    pattern = "".join(letters[kind] for kind in config["layers_block_type"])
    older = without("layers_block_type", "mtp_layers_block_type")(config)
    more = {"hybrid_override_pattern": pattern, "num_hidden_layers": len(pattern)}
    return older | more


def dense(config: dict[str, Any]) -> dict[str, Any]:
    """The same of a model without experts, which has no keys for them."""
    return without(*OF_EXPERTS)(with_pattern(config))


KINDS = {
    "M": "linear_attention",
    "*": "full_attention",
    "E": "moe",
    "-": "mlp",
}
EXPERTS = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 40,
    "moe_shared_expert_intermediate_size": 56,
    "routed_scaling_factor": 2.5,
}
OF_EXPERTS = (
    *(*EXPERTS, "n_shared_experts", "moe_latent_size", "moe_shared_expert_overlap"),
    *("n_group", "topk_group", "norm_topk_prob", "num_nextn_predict_layers"),
)


def with_predictor(arrays: Arrays) -> Arrays:
    """Add the layer that predicts further tokens, as it is published."""
    attention, experts = (re.compile(rf"backbone\.layers\.{i}\.(.+)") for i in (2, 3))
    shapes = {
        "mtp.layers.0.eh_proj.weight": (64, 128),
        "mtp.layers.0.enorm.weight": (64,),
        "mtp.layers.0.hnorm.weight": (64,),
        "mtp.layers.1.final_layernorm.weight": (64,),
    }
    for name, array in arrays.items():
        for i, layer in enumerate((attention, experts)):
            if match := layer.fullmatch(name):
                shapes[f"mtp.layers.{i}.{match[1]}"] = array.shape
    return arrays | weights(shapes)


MAMBAS = (
    Case(
        "nemotron-h",
        "NemotronHForCausalLM",
        {**NEMOTRON, "hybrid_override_pattern": "M-M*-"},
        config_of=dense,
        is_raw=True,
    ),
    Case(
        "nemotron-h-moe",
        "NemotronHForCausalLM",
        {**NEMOTRON, **EXPERTS, "hybrid_override_pattern": "MEM*E"},
        config_of=with_pattern,
        is_raw=True,
    ),
    Case(
        "nemotron-h-latent",
        "NemotronHForCausalLM",
        {
            **NEMOTRON,
            **EXPERTS,
            "hybrid_override_pattern": "ME*E",
            "moe_latent_size": 32,
            "n_group": 4,
            "topk_group": 2,
            "norm_topk_prob": False,
            "num_nextn_predict_layers": 1,
        },
        rename=with_predictor,
    ),
)
