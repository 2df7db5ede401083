"""MiniMax M2 and M3: heads that rotate in part, experts by sigmoids, sparse blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantkit.gguf.keys import Field, ValueType

from .case import SIZES, Case, without
from .checkpoints import Arrays
from .llama_twins import old_style, renamed

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


M3 = {
    **SIZES,
    "intermediate_size": 48,
    "dense_intermediate_size": 96,
    "shared_intermediate_size": 96,
    "head_dim": 24,
    "rotary_dim": 12,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 640000.0,
        "partial_rotary_factor": 0.5,
    },
    "index_n_heads": 2,
    "index_head_dim": 20,
    "index_block_size": 4,
    "index_topk_blocks": 2,
    "index_local_blocks": 1,
    "layer_types": ["full_attention", *["minimax_m3_sparse"] * 2],
    "mlp_layer_types": ["dense", "sparse", "sparse"],
}
INDEXER = {
    "index_n_heads": "sparse_num_index_heads",
    "index_head_dim": "sparse_index_dim",
    "index_block_size": "sparse_block_size",
    "index_topk_blocks": "sparse_topk_blocks",
    "index_local_blocks": "sparse_local_block",
}


def m3_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys of published checkpoints, text alone."""
    own = without("rope_parameters", "layer_types", "mlp_layer_types")(config)
    indexer = {INDEXER[key]: own.pop(key) for key in INDEXER}
    return {
        **own,
        "architectures": ["MiniMaxM3SparseForCausalLM"],
        "hidden_act": "swigluoai",
        "moe_layer_freq": [0, 1, 1],
        "n_shared_experts": 2,
        "rope_theta": config["rope_parameters"]["rope_theta"],
        "scoring_func": "sigmoid",
        "qk_norm_type": "per_head",
        "sparse_attention_config": {
            "use_sparse_attention": True,
            "sparse_attention_freq": [0, 1, 1],
            **indexer,
        },
        "use_gemma_norm": True,
        "use_qk_norm": True,
        "use_routing_bias": True,
    }


def m3_vision_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the model with images, text nested."""
    text = m3_config(config)
    text.pop("architectures")
    return {
        "architectures": ["MiniMaxM3SparseForConditionalGeneration"],
        "model_type": "minimax_m3_vl",
        "text_config": {**text, "model_type": "minimax_m3_vl_text"},
        "vision_config": {"model_type": "minimax_m3_vl_vision", "hidden_size": 48},
    }


def m3(arrays: Arrays) -> Arrays:
    """The tensors as published: each expert by itself, gate and up apart."""
    new: Arrays = {}
    for name, array in arrays.items():
        before, found, part = name.partition(".mlp.experts.")
        if found:
            at = f"{before}.block_sparse_moe.experts."
            for number, matrix in enumerate(array):
                parts = {"w2": matrix}
                if part == "gate_up_proj":
                    parts = dict(zip(("w1", "w3"), np.split(matrix, 2), strict=True))
                new |= {f"{at}{number}.{k}.weight": m for k, m in parts.items()}
        elif ".gate_up_proj." in name:
            for half, matrix in zip(("gate", "up"), np.split(array, 2), strict=True):
                new[name.replace("gate_up", half)] = matrix
        else:
            new[name] = array
    names = {
        ".mlp.gate.e_score": ".block_sparse_moe.e_score",
        ".mlp.gate.": ".block_sparse_moe.gate.",
        ".mlp.shared_experts.": ".block_sparse_moe.shared_experts.",
        ".indexer.": ".index_",
    }
    return renamed(new, names)


def m3_beside_images(arrays: Arrays) -> Arrays:
    """The tensors of the model with images."""
    images = {
        "vision_tower.vision_model.pre_layrnorm.weight": np.ones(4, np.float32),
        "multi_modal_projector.linear_1.weight": np.ones((4, 4), np.float32),
        "patch_merge_mlp.linear_1.weight": np.ones((4, 4), np.float32),
    }
    return images | {f"language_model.{k}": a for k, a in m3(arrays).items()}


SCALE = 3.5
TEXT_01 = {
    **SIZES,
    "num_attention_heads": 4,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "head_dim": 24,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    **{f"{part}_alpha_factor": SCALE for part in ("full_attn", "linear_attn", "mlp")},
}


def text_01_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys of published checkpoints."""
    factors = [key for key in config if key.endswith("_factor")]
    own = without(*factors, "layer_types", "block_size")(old_style(config))
    scales = {
        f"layernorm_{part}_{kind}": value
        for part in ("full_attention", "linear_attention", "mlp")
        for kind, value in (("alpha", SCALE), ("beta", 1.0))
    }
    return {
        **own,
        **scales,
        "architectures": ["MiniMaxText01ForCausalLM"],
        "model_type": "minimax_text_01",
        "attn_type_list": [0, 1, 0],
        "postnorm": True,
        "rotary_dim": config["head_dim"],
        "shared_intermediate_size": 0,
        "shared_moe_mode": "sigmoid",
    }


def text_01(arrays: Arrays) -> Arrays:
    """The tensors as published, without what follows from the config."""
    computed = ("_decay", "slope_rate")
    return {name: a for name, a in arrays.items() if not name.endswith(computed)}


MINIMAXES = (
    Case(
        "minimax-text-01",
        "MiniMaxForCausalLM",
        TEXT_01,
        config_of=text_01_config,
        prepare=text_01,
        added={
            "minimax-01.attention.recurrent_layers": Field(
                ValueType.ARRAY, [True, False, True], ValueType.BOOL
            )
        },
    ),
    Case(
        "minimax-m3",
        "MiniMaxM3VLForCausalLM",
        M3,
        config_of=m3_config,
        rename=m3,
        is_raw=True,
    ),
    Case(
        "minimax-m3-vision",
        "MiniMaxM3VLForCausalLM",
        {**M3, "index_block_size": 16, "index_topk_blocks": 4},
        config_of=m3_vision_config,
        rename=m3_beside_images,
        is_raw=True,
    ),
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
