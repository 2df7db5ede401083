"""Kimi Linear: the delta rule with decays of channels, latent attention unrotated."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, YARN, Case, without
from .checkpoints import Arrays
from .deepseek_cases import published_v3_config
from .llama_twins import renamed

__all__ = ["KIMIS"]

LATENT = {
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
}
LINEAR = {
    **{k: v for k, v in SIZES.items() if k != "max_position_embeddings"},
    **LATENT,
    "model_max_length": 256,
    "num_key_value_heads": 4,
    "q_lora_rank": None,
    "moe_intermediate_size": 48,
    "num_experts": 8,
    "num_experts_per_token": 3,
    "num_shared_experts": 1,
    "routed_scaling_factor": 2.446,
    "linear_attn_config": {
        "full_attn_layers": [3],
        "kda_layers": [1, 2],
        "head_dim": 16,
        "num_heads": 4,
        "short_conv_kernel_size": 4,
    },
}


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys of published checkpoints, which have a `head_dim`."""
    dropped = (
        *("layer_types", "mlp_layer_types", "linear_head_dim", "linear_num_heads"),
        *("linear_conv_kernel_dim", "qk_head_dim"),
    )
    return {
        **without(*dropped)(config),
        "first_k_dense_replace": 1,
        "head_dim": config["hidden_size"] // config["num_attention_heads"],
        "mla_use_nope": True,
        "moe_layer_freq": 1,
        "moe_router_activation_func": "sigmoid",
        "num_nextn_predict_layers": 0,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "use_grouped_topk": True,
    }


def published(arrays: Arrays) -> Arrays:
    """The tensors as published; transformers names dense layers like experts."""
    parts = [f"{part}_proj" for part in ("gate", "up", "down")]
    names = {f"block_sparse_moe.{part}": f"mlp.{part}" for part in parts}
    return renamed(arrays, names)


def with_vision(config: dict[str, Any]) -> dict[str, Any]:
    """The config of Kimi K2.5, whose text model is a DeepSeek V3."""
    own = ("architectures", "transformers_version", "dtype")
    text = {**published_v3_config(config), "model_type": "kimi_k2"}
    return {
        "architectures": ["KimiK25ForConditionalGeneration"],
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["eos_token_id"],
        "media_placeholder_token_id": 111,
        "model_type": "kimi_k25",
        "text_config": without(*own)(text),
        "tie_word_embeddings": False,
        "vision_config": {"model_type": "kimi_k25", "vt_hidden_size": 48},
    }


def beside_images(arrays: Arrays) -> Arrays:
    """The tensors with the names of a vision-language model."""
    images = {
        "vision_tower.patch_embed.proj.weight": np.ones((4, 4), np.float32),
        "mm_projector.proj.0.weight": np.ones((4, 4), np.float32),
    }
    return images | {f"language_model.{name}": a for name, a in arrays.items()}


KIMIS = (
    Case(
        "kimi-k2.5",
        "DeepseekV3ForCausalLM",
        {
            **SIZES,
            **LATENT,
            "num_hidden_layers": 2,
            "num_key_value_heads": 4,
            "q_lora_rank": 40,
            "moe_intermediate_size": 48,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_experts_per_tok": 3,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
            "routed_scaling_factor": 2.827,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        config_of=with_vision,
        rename=beside_images,
    ),
)
