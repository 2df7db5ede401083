"""GLM-4.5 to 5: experts, layers that only predict, latent and sparse attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quantkit.gguf.keys import uint32

from .case import SIZES, Case, as_version_4, without
from .checkpoints import Arrays, weights

__all__ = ["GLM_MOES"]

EXPERTS = {
    "moe_intermediate_size": 48,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "routed_scaling_factor": 1.5,
}
GLM_4_5 = {**SIZES, **EXPERTS, "n_shared_experts": 2}
ROPE = {"rope_type": "default", "rope_theta": 1e6}

LATENT = {
    **SIZES,
    **EXPERTS,
    "num_key_value_heads": 4,
    "kv_lora_rank": 24,
    "q_lora_rank": 40,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 12,
    "v_head_dim": 28,
    "n_shared_experts": 1,
}

VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 2,
    "image_size": 8,
}


def with_predictor(n_layers: int, width: int = 64) -> Callable[[Arrays], Arrays]:
    """Adds a layer that predicts the token after the next: a copy of the last one."""
    last, more = (f"layers.{i}." for i in (n_layers - 1, n_layers))

    def added(arrays: Arrays) -> Arrays:
        layer = {
            name.replace(last, more): array
            for name, array in arrays.items()
            if last in name
        }
        at = next(name for name in layer).split(more)[0] + more
        embedding = next(a for name, a in arrays.items() if "embed_tokens" in name)
        shapes = {
            f"{at}embed_tokens.weight": embedding.shape,
            f"{at}enorm.weight": (width,),
            f"{at}hnorm.weight": (width,),
            f"{at}eh_proj.weight": (width, 2 * width),
            f"{at}shared_head.norm.weight": (width,),
            f"{at}shared_head.head.weight": embedding.shape,
        }
        return arrays | layer | weights(shapes)

    return added


def of_published(config: dict[str, Any]) -> dict[str, Any]:
    """The config in the style of transformers 4, as GLM-4.5's."""
    return {**as_version_4(config), "num_nextn_predict_layers": 1}


def of_flash(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of GLM-4.7-Flash, with a number of dense layers."""
    keys = ("mlp_layer_types", "qk_head_dim", "rope_interleave")
    more = {"first_k_dense_replace": 1, "topk_method": "noaux_tc"}
    return without(*keys)(of_published(config)) | more


GLM_MOES = (
    Case(
        "glm4moe",
        "Glm4MoeForCausalLM",
        {
            **GLM_4_5,
            "head_dim": 24,
            "use_qk_norm": True,
            "attention_bias": True,
            "n_group": 4,
            "topk_group": 2,
        },
        config_of=of_published,
        rename=with_predictor(3),
    ),
    Case(
        "glm4moe-air",
        "Glm4MoeForCausalLM",
        {**GLM_4_5, "norm_topk_prob": False, "first_k_dense_replace": 2}
        | {"tie_word_embeddings": True, "num_nextn_predict_layers": 0},
    ),
    Case(
        "glm4v-moe",
        "Glm4vMoeForConditionalGeneration",
        {
            "text_config": {
                **GLM_4_5,
                "num_hidden_layers": 2,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 500.0,
                    "partial_rotary_factor": 0.5,
                    "mrope_section": [1, 1, 2],
                },
            },
            "vision_config": VISION,
        },
    ),
    Case(
        "solar-open",
        "SolarOpenForCausalLM",
        {**GLM_4_5, "head_dim": 24}
        | {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "partial_rotary_factor": 1.0,
            }
        },
    ),
    Case(
        "glm4moe-lite",
        "Glm4MoeLiteForCausalLM",
        {**LATENT, "rms_norm_eps": 1e-6, "rope_parameters": ROPE},
        config_of=of_flash,
        rename=with_predictor(3),
        added={"deepseek2.expert_gating_func": uint32(2)},
    ),
    Case(
        "glm4moe-lite-dense",
        "Glm4MoeLiteForCausalLM",
        {
            **LATENT,
            "first_k_dense_replace": 2,
            "mlp_layer_types": ["dense", "dense", "sparse"],
            "n_group": 4,
            "topk_group": 2,
            "norm_topk_prob": False,
        },
        rename=with_predictor(3),
        added={"deepseek2.expert_gating_func": uint32(2)},
    ),
    Case(
        "glm-ocr",
        "GlmOcrForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "head_dim": 24,
                "num_hidden_layers": 2,
                "num_nextn_predict_layers": 1,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 500.0,
                    "partial_rotary_factor": 1.0,
                    "mrope_section": [2, 4, 6],
                },
            },
            "vision_config": VISION,
        },
        rename=with_predictor(2),
    ),
)
