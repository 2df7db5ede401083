"""Granite 4 and its relatives: Mamba-2 and attention by turns, and experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays

__all__ = ["GRANITES"]

SCALES = {
    "embedding_multiplier": 12.0,
    "attention_multiplier": 0.3,
    "residual_multiplier": 0.22,
    "logits_scaling": 0.5,
}
EXPERTS = {"num_local_experts": 5, "num_experts_per_tok": 2}
SHARED = {"shared_intermediate_size": 56}
NO_EXPERTS = {
    "num_local_experts": 0,
    "num_experts_per_tok": 0,
    "shared_intermediate_size": 96,
}
SPACE = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_n_groups": 2,
    "mamba_d_state": 20,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
HYBRID = {
    **SIZES,
    **SCALES,
    **SPACE,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
WORDS = {"linear_attention": "mamba", "full_attention": "attention"}


def published(**more: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The config with the kinds of layers as they are published, and more keys."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        kinds = [WORDS[kind] for kind in config["layer_types"]]
        return {**config, "layer_types": kinds, **more}

    return config_of


def with_sinks(arrays: Arrays) -> Arrays:
    """Sinks that differ between heads, and are not near 0."""
    return {
        name: array + np.arange(len(array), dtype=array.dtype) / 2
        if name.endswith(".sinks")
        else array
        for name, array in arrays.items()
    }


def switch_shapes(n_layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a Granite Switch with 2 adapters of rank 8."""
    width, inner, all_heads, keys = 64, 96, 128, 32
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (112, width),
        "model.norm.weight": (width,),
        "model.adapter_token_ids": (2,),
    }
    maps = {
        "self_attn.qkv_proj": (all_heads, width, (width, keys, keys)),
        "self_attn.o_proj": (width, width, (width,)),
        "shared_mlp.input_linear": (2 * inner, width, (inner, inner)),
        "shared_mlp.output_linear": (width, inner, (width,)),
    }
    for number in range(n_layers):
        at = f"model.layers.{number}"
        shapes[f"{at}.input_layernorm.weight"] = (width,)
        shapes[f"{at}.post_attention_layernorm.weight"] = (width,)
        for name, (n_rows, n_cols, parts) in maps.items():
            shapes[f"{at}.{name}.base_layer.weight"] = (n_rows, n_cols)
            for i, size in enumerate(parts):
                tail = f"_slices.{i}" if len(parts) > 1 else ""
                shapes[f"{at}.{name}.lora_A{tail}"] = (2, 1, 8, n_cols)
                shapes[f"{at}.{name}.lora_B{tail}"] = (2, 1, size, 8)
    return shapes


SWITCH_TOKENS = {"adapter_token_ids": [9, 40], "adapter_substitute_token_ids": [5, 6]}

GRANITES = (
    Case("granite-moe", "GraniteMoeForCausalLM", {**SIZES, **SCALES, **EXPERTS}),
    Case(
        "granite-moe-shared",
        "GraniteMoeSharedForCausalLM",
        {**SIZES, **SCALES, **EXPERTS, **SHARED, "tie_word_embeddings": True},
    ),
    Case(
        "granite-swa",
        "GraniteSWAForCausalLM",
        {**SIZES, **SCALES, "num_hidden_layers": 5, "sliding_window": 6},
        prepare=with_sinks,
    ),
    Case(
        "granite-swa-moe",
        "GraniteMoeSWAForCausalLM",
        {
            **SIZES,
            **SCALES,
            **EXPERTS,
            **SHARED,
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "layer_rope_theta": [10000.0, 0.0, 10000.0],
            "attention_bias": True,
        },
        config_of=lambda config: {**config, "no_rope_layers": [1, 0, 1]},
        prepare=with_sinks,
    ),
    Case(
        "granite-switch",
        "GraniteSwitchForCausalLM",
        {
            **{k: v for k, v in SIZES.items() if not k.endswith("_token_id")},
            **SCALES,
            **SWITCH_TOKENS,
            "architectures": ["GraniteSwitchForCausalLM"],
            "shared_intermediate_size": 96,
            "num_local_experts": 0,
            "num_experts_per_tok": 2,
            "num_adapters": 2,
            "max_lora_rank": 8,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "model_type": "granite_switch",
        },
        shapes=switch_shapes(2),
        is_raw=True,
    ),
    Case(
        "bamba",
        "BambaForCausalLM",
        {
            **SIZES,
            **SPACE,
            "attn_layer_indices": [1],
            "tie_word_embeddings": True,
        },
        config_of=lambda config: {
            **{k: v for k, v in config.items() if k != "layer_types"},
            "attn_rotary_emb": 8,
        },
        is_raw=True,
    ),
    Case(
        "granite-hybrid",
        "GraniteMoeHybridForCausalLM",
        {**HYBRID, **EXPERTS, **SHARED},
        config_of=published(position_embedding_type="nope"),
        is_raw=True,
    ),
    Case(
        "granite-hybrid-dense",
        "GraniteMoeHybridForCausalLM",
        {**HYBRID, **NO_EXPERTS, "mamba_n_groups": 1, "tie_word_embeddings": True},
        config_of=published(position_embedding_type="nope"),
        is_raw=True,
    ),
    Case(
        "granite-4-dense",
        "GraniteMoeHybridForCausalLM",
        {
            **HYBRID,
            **NO_EXPERTS,
            "layer_types": ["full_attention"] * 3,
            "position_embedding_type": "rope",
        },
        config_of=published(),
        is_raw=True,
    ),
    Case(
        "granite-4-moe",
        "GraniteMoeHybridForCausalLM",
        {
            **HYBRID,
            **EXPERTS,
            **SHARED,
            "layer_types": ["full_attention"] * 3,
            "position_embedding_type": "rope",
        },
        config_of=published(),
        is_raw=True,
    ),
)
