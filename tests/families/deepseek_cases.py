"""DeepSeek V2 and V3: latent attention, groups of experts, YaRN with its own scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, YARN, Case, as_version_4, without
from .checkpoints import Arrays

__all__ = ["DEEPSEEKS"]

N_LAYERS = 3


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config without a key that transformers' class writes today."""
    return without("head_dim")(as_version_4(config))


def published_v3_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with keys that transformers' class does not write."""
    return {
        **published_config(config),
        "moe_layer_freq": 1,
        "num_nextn_predict_layers": 1,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
    }


def with_next_predictor(arrays: Arrays) -> Arrays:
    """Add the multi-token prediction layer after the last layer."""
    last, more = (f"model.layers.{i}." for i in (N_LAYERS - 1, N_LAYERS))
    layer = {
        name.replace(last, more): array
        for name, array in arrays.items()
        if name.startswith(last)
    }
    own = {
        "embed_tokens": arrays["model.embed_tokens.weight"],
        "enorm": arrays["model.norm.weight"],
        "hnorm": arrays["model.norm.weight"],
        "eh_proj": np.ones((64, 128), np.float32),
        "shared_head.norm": arrays["model.norm.weight"],
        "shared_head.head": arrays["lm_head.weight"],
    }
    return arrays | layer | {f"{more}{name}.weight": a for name, a in own.items()}


LATENT = {
    **SIZES,
    "num_hidden_layers": N_LAYERS,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "q_lora_rank": 40,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
    "moe_intermediate_size": 48,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
}
INDEXED = {
    **LATENT,
    "index_n_heads": 8,
    "index_head_dim": 128,
    "index_topk": 9,
}

YOUTU = {
    key: value
    for key, value in LATENT.items()
    if not key.startswith(("moe_", "n_routed", "n_shared", "num_experts", "first_k"))
    and key != "routed_scaling_factor"
}
OCR_SIZES = ("hidden_size", "intermediate_size", "max_position_embeddings")
OCR: dict[str, Any] = {
    "architectures": ["DeepseekOCRForCausalLM"],
    "model_type": "deepseek_vl_v2",
    **{key: SIZES[key] for key in (*OCR_SIZES, "num_attention_heads", "vocab_size")},
    "bos_token_id": 0,
    "candidate_resolutions": [[1024, 1024]],
    "eos_token_id": 1,
    "first_k_dense_replace": 1,
    "global_view_pos": "head",
    "kv_lora_rank": None,
    "lm_head": True,
    "moe_intermediate_size": 48,
    "n_group": 1,
    "n_routed_experts": 5,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "q_lora_rank": None,
    "qk_nope_head_dim": 0,
    "qk_rope_head_dim": 0,
    "rm_head": False,
    "routed_scaling_factor": 2.5,
    "tile_tag": "2D",
    "topk_group": 1,
    "topk_method": "greedy",
    "use_mla": False,
    "v_head_dim": 0,
    "vision_config": {"model_type": "vision", "image_size": 1024},
}
UNLIMITED: dict[str, Any] = {
    **without("routed_scaling_factor")(OCR),
    "architectures": ["UnlimitedOCRForCausalLM"],
    "norm_topk_prob": True,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "sliding_window_size": 128,
    "tie_word_embeddings": True,
}


def kimi_vl(arrays: Arrays) -> Arrays:
    """A text model inside another, with a tensor of the vision tower."""
    nested = {f"language_model.{name}": array for name, array in arrays.items()}
    vision = np.ones((4, 4), np.float32)
    return {
        **nested,
        "multi_modal_projector.linear_1.weight": vision,
        "vision_tower.patch_embed.proj.weight": vision,
    }


def kimi_vl_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a model that sees images."""
    text = {**published_v3_config(config), "num_nextn_predict_layers": 0}
    return {
        "architectures": ["KimiVLForConditionalGeneration"],
        "model_type": "kimi_vl",
        "media_placeholder_token_id": 111,
        "text_config": without("architectures")(text),
        "vision_config": {"model_type": "moonvit", "hidden_size": 4},
        "vocab_size": text["vocab_size"],
    }


def youtu_vl_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of Youtu VL, which is flat."""
    return {
        **published_config(config),
        "architectures": ["YoutuVLForConditionalGeneration"],
        "model_type": "youtu_vl",
        "vision_config": {"model_type": "siglip2", "hidden_size": 4},
    }


def youtu_vl(arrays: Arrays) -> Arrays:
    """Youtu's tensors, and two of its vision encoder."""
    vision = np.ones((4, 4), np.float32)
    names = ("siglip2.vision_model.embeddings.patch.weight", "merger.mlp.0.weight")
    return {**arrays, **dict.fromkeys(names, vision)}


def ocr() -> dict[str, tuple[int, ...]]:
    """A dense layer and one with experts, and a tensor of a vision encoder."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (112, 64),
        "model.norm.weight": (64,),
        "model.sam_model.pos_embed": (4, 4),
        "model.view_seperator": (64,),
        "lm_head.weight": (112, 64),
    }
    sizes = {0: {"mlp": 96}, 1: {"mlp.shared_experts": 96}}
    sizes[1] |= {f"mlp.experts.{i}": 48 for i in range(5)}
    for number, parts in sizes.items():
        at = f"model.layers.{number}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}{name}.weight"] = (64,)
        for name in "qkvo":
            shapes[f"{at}self_attn.{name}_proj.weight"] = (64, 64)
        for name, size in parts.items():
            shapes[f"{at}{name}.gate_proj.weight"] = (size, 64)
            shapes[f"{at}{name}.up_proj.weight"] = (size, 64)
            shapes[f"{at}{name}.down_proj.weight"] = (64, size)
    shapes["model.layers.1.mlp.gate.weight"] = (5, 64)
    return shapes


DEEPSEEKS = (
    Case(
        "deepseek-v2-lite",
        "DeepseekV2ForCausalLM",
        {**LATENT, "q_lora_rank": None, "routed_scaling_factor": 1.0},
        config_of=published_config,
    ),
    Case(
        "deepseek-v2",
        "DeepseekV2ForCausalLM",
        {
            **LATENT,
            "topk_method": "group_limited_greedy",
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
        config_of=published_config,
    ),
    Case(
        "deepseek-v3",
        "DeepseekV3ForCausalLM",
        {
            **LATENT,
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        config_of=published_v3_config,
        rename=with_next_predictor,
    ),
    Case(
        "deepseek-v3.2",
        "DeepseekV32ForCausalLM",
        {
            **INDEXED,
            "n_group": 4,
            "topk_group": 2,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        config_of=published_v3_config,
        rename=with_next_predictor,
    ),
    Case(
        "deepseek-v3.2-plain",
        "DeepseekV32ForCausalLM",
        {**INDEXED, "n_group": 1, "topk_group": 1, "norm_topk_prob": False},
        config_of=lambda config: {**config, "scoring_func": "sigmoid"},
    ),
    Case("youtu", "YoutuForCausalLM", {**YOUTU, "pad_token_id": None}),
    Case(
        "youtu-vl",
        "YoutuForCausalLM",
        {**YOUTU, "tie_word_embeddings": False},
        config_of=youtu_vl_config,
        rename=youtu_vl,
    ),
    Case(
        "kimi-vl",
        "DeepseekV3ForCausalLM",
        {**LATENT, "n_group": 1, "topk_group": 1, "num_hidden_layers": 2},
        config_of=kimi_vl_config,
        rename=kimi_vl,
    ),
    Case("deepseek-ocr", "", OCR, shapes=ocr()),
    Case("unlimited-ocr", "", UNLIMITED, shapes=without("lm_head.weight")(ocr())),
)
