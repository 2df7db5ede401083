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


K3 = {
    **{k: v for k, v in LINEAR.items() if k not in ("q_lora_rank",)},
    "num_hidden_layers": 5,
    "q_lora_rank": 40,
    "hidden_act": "situ",
    "activation_situ_beta": 1.5,
    "activation_situ_linear_beta": 2.0,
    "attn_res_block_size": 2,
    "first_k_dense_replace": 1,
    "mla_use_nope": True,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "num_expert_group": 1,
    "rms_norm_eps": 1e-6,
    "routed_expert_hidden_size": 32,
    "tie_word_embeddings": False,
    "linear_attn_config": {
        "full_attn_layers": [3, 5],
        "kda_layers": [1, 2, 4],
        "head_dim": 16,
        "num_heads": 4,
        "short_conv_kernel_size": 4,
        "gate_lower_bound": -5.0,
    },
}


def k3_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of Kimi K3, text nested."""
    return {
        "architectures": ["KimiK3ForConditionalGeneration"],
        "model_type": "kimi_k3",
        "text_config": {**config, "model_type": "kimi_linear"},
        "vision_config": {"model_type": "kimi_k3", "vt_hidden_size": 48},
    }


def delta_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a layer with the delta rule."""
    convolutions = {f"{part}_conv1d.weight": (64, 1, 4) for part in "qkv"}
    return convolutions | {
        "q_proj.weight": (64, 64),
        "k_proj.weight": (64, 64),
        "v_proj.weight": (64, 64),
        "f_a_proj.weight": (16, 64),
        "f_b_proj.weight": (64, 16),
        "b_proj.weight": (4, 64),
        "A_log": (4,),
        "dt_bias": (64,),
        "g_proj.weight": (64, 64),
        "o_norm.weight": (16,),
        "o_proj.weight": (64, 64),
    }


def latent_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a layer with latent attention."""
    return {
        "q_a_proj.weight": (40, 64),
        "q_a_layernorm.weight": (40,),
        "q_b_proj.weight": (128, 40),
        "kv_a_proj_with_mqa.weight": (36, 64),
        "kv_a_layernorm.weight": (24,),
        "kv_b_proj.weight": (192, 24),
        "g_proj.weight": (112, 64),
        "o_proj.weight": (64, 112),
    }


def gated_shapes(width: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a gated feed-forward part."""
    return {
        "gate_proj.weight": (inner, width),
        "up_proj.weight": (inner, width),
        "down_proj.weight": (width, inner),
    }


def expert_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a layer's experts."""
    names = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    expert = {
        f"{names[name.removesuffix('.weight')]}.weight": shape
        for name, shape in gated_shapes(32, 48).items()
    }
    shared = gated_shapes(64, 48)
    return {
        **{f"experts.{i}.{k}": shape for i in range(8) for k, shape in expert.items()},
        **{f"shared_experts.{name}": shape for name, shape in shared.items()},
        "gate.weight": (8, 64),
        "gate.e_score_correction_bias": (8,),
        "routed_expert_down_proj.weight": (32, 64),
        "routed_expert_up_proj.weight": (64, 32),
        "routed_expert_norm.weight": (32,),
    }


def k3_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a Kimi K3, by the names that llama.cpp's converter knows."""
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (112, 64),
        "model.embed_tokens.weight": (112, 64),
        "model.norm.weight": (64,),
        "model.output_attn_res_norm.weight": (64,),
        "model.output_attn_res_proj.weight": (1, 64),
    }
    for layer in range(5):
        at = f"model.layers.{layer}."
        is_full = layer + 1 in (3, 5)
        mixer = latent_shapes() if is_full else delta_shapes()
        shapes |= {f"{at}self_attn.{name}": shape for name, shape in mixer.items()}
        inside = ("mlp", gated_shapes(64, 96))
        inside = ("block_sparse_moe", expert_shapes()) if layer else inside
        shapes |= {f"{at}{inside[0]}.{k}": shape for k, shape in inside[1].items()}
        for part in ("self_attention_res", "mlp_res"):
            shapes[f"{at}{part}_norm.weight"] = (64,)
            shapes[f"{at}{part}_proj.weight"] = (1, 64)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}{norm}.weight"] = (64,)
    return {f"language_model.{name}": shape for name, shape in shapes.items()}


KIMIS = (
    Case("kimi-k3", "", K3, config_of=k3_config, shapes=k3_shapes()),
    Case(
        "kimi-linear",
        "KimiLinearForCausalLM",
        LINEAR,
        config_of=published_config,
        rename=published,
    ),
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
