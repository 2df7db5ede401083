"""Mamba and Mamba-2 alone, or by turns with attention: Nemotron-H, Jamba."""

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


def of_state_spaces(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the first Mamba models."""
    return {
        "architectures": ["MambaLMHeadModel"],
        "d_model": config["hidden_size"],
        "n_layer": config["num_hidden_layers"],
        "vocab_size": config["vocab_size"] - 3,
        "ssm_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 8,
    }


def with_older_names(arrays: Arrays) -> Arrays:
    """The tensors of the first Mamba models, whose head is stored twice."""
    renamed = {name.replace("embeddings", "embedding"): a for name, a in arrays.items()}
    return renamed | {"lm_head.weight": arrays["backbone.embeddings.weight"]}


def of_puzzle(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a model whose layers choose different numbers of experts."""
    words = {**WORDS, "moe": "moe"}
    blocks: list[dict[str, Any]] = [
        {"block_type": words[kind]} for kind in config["layers_block_type"]
    ]
    for number, used in ((1, 3), (3, 2)):
        sizes = {"moe_intermediate_size": 40, "num_experts_per_tok": used}
        blocks[number] |= sizes
    left_out = ("layers_block_type", "moe_intermediate_size", "num_experts_per_tok")
    rest = without(*left_out, "mtp_layers_block_type")(config)
    return {
        **rest,
        "architectures": ["NemotronHPuzzleForCausalLM"],
        "model_type": "nemotron_h_puzzle",
        "block_configs": blocks,
        "num_hidden_layers": len(blocks),
    }


def of_trunk(arrays: Arrays) -> Arrays:
    """The tensors as they are published, with one that is left out."""
    renamed = {name.replace("backbone.", "model."): a for name, a in arrays.items()}
    return renamed | weights({"mtp.layers.0.norm.weight": (64,)})


def choose_fewer(model: Any) -> None:
    """Let the last layer choose two experts."""
    model.model.layers[3].mixer.gate.top_k = 2


WORDS = {"linear_attention": "mamba", "full_attention": "attention"}
ALONE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "vocab_size": 112,
    "state_size": 12,
}

MAMBAS = (
    Case("mamba", "MambaForCausalLM", {**ALONE, "conv_kernel": 3}),
    Case(
        "mamba-state-spaces",
        "MambaForCausalLM",
        {**ALONE, "state_size": 16},
        config_of=of_state_spaces,
        rename=with_older_names,
        is_raw=True,
    ),
    Case(
        "falcon-mamba",
        "FalconMambaForCausalLM",
        {
            **ALONE,
            "time_step_rank": 6,
            "mixer_rms_eps": 1e-5,
            "tie_word_embeddings": False,
        },
    ),
    Case(
        "mamba2",
        "Mamba2ForCausalLM",
        {**ALONE, "num_heads": 8, "head_dim": 16, "n_groups": 1},
    ),
    Case(
        "jamba",
        "JambaForCausalLM",
        {
            **SIZES,
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "num_experts": 5,
            "mamba_d_state": 12,
            "mamba_dt_rank": 6,
        },
    ),
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
    Case(
        "nemotron-puzzle",
        "NemotronHForCausalLM",
        {
            **NEMOTRON,
            **EXPERTS,
            "hybrid_override_pattern": "ME*E",
            "moe_latent_size": 32,
        },
        config_of=of_puzzle,
        rename=of_trunk,
        adapt=choose_fewer,
        is_raw=True,
    ),
)
