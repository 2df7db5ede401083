"""GLM-5.3: the delta rule, latent attention and an indexer of pools, on streams."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case, without
from .checkpoints import Arrays
from .glm_moe_cases import EXPERTS, VISION, with_predictor

__all__ = ["GLM_5S"]

DELTA, INDEXED = "linear_attention", "indexed_attention"
FLASH = {
    **{k: v for k, v in SIZES.items() if k != "tie_word_embeddings"},
    **EXPERTS,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "n_shared_experts": 1,
    "kv_lora_rank": 24,
    "q_lora_rank": 40,
    "qk_nope_head_dim": 20,
    "v_head_dim": 28,
    "index_n_heads": 10,  # with few, many scores are 0
    "index_head_dim": 32,
    "index_topk": 9,
    "index_kpool": 3,
    "linear_head_dim": 12,
    "linear_num_heads": 4,
    "layer_types": [DELTA, INDEXED, INDEXED, INDEXED],
    "indexer_types": ["full", "full", "shared", "full"],
    "mlp_layer_types": ["dense", *["sparse"] * 3],
}
DELTA_KEYS = {
    "linear_head_dim": "head_dim",
    "linear_num_heads": "num_heads",
    "linear_conv_kernel_dim": "short_conv_kernel_size",
    "linear_lower_bound": "gate_lower_bound",
}


def published(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the keys that llama.cpp's converter asks for."""
    text = config["text_config"]
    delta = {name: text[key] for key, name in DELTA_KEYS.items()}
    own = without(*DELTA_KEYS, "mlp_layer_types")(text)
    changed = {
        **own,
        "first_k_dense_replace": text["mlp_layer_types"].count("dense"),
        "head_dim": 52,
        "linear_attn_config": delta,
        "mhc": True,
        "mla_use_nope": True,
        "num_nextn_predict_layers": 1,
    }
    return {**config, "text_config": changed}


def soft(config: dict[str, Any]) -> dict[str, Any]:
    """All keys of transformers' class, decays without a bound, no further layer."""
    text = published(config)["text_config"]
    delta = {**text["linear_attn_config"], "safe_gate": False}
    changed = {
        **text,
        **config["text_config"],
        "linear_attn_config": delta,
        "num_nextn_predict_layers": 0,
    }
    return {**config, "text_config": changed}


def with_plain_predictor(arrays: Arrays) -> Arrays:
    """With a layer that predicts the token after the next, on one stream."""
    return {
        name: array
        for name, array in with_predictor(4)(arrays).items()
        if "layers.4.hc_" not in name
    }


GLM_5S = (
    Case(
        "glm5-next",
        "Glm5NextForConditionalGeneration",
        {"text_config": FLASH, "vision_config": VISION},
        config_of=published,
        rename=with_plain_predictor,
    ),
    Case(
        "glm5-next-soft",
        "Glm5NextForConditionalGeneration",
        {
            "text_config": {
                **FLASH,
                "num_hidden_layers": 3,
                "n_group": 4,
                "topk_group": 2,
                "norm_topk_prob": False,
                "linear_lower_bound": None,
                "linear_conv_kernel_dim": 3,
                "layer_types": [INDEXED, DELTA, INDEXED],
                "indexer_types": None,
                "mlp_layer_types": ["dense", "dense", "sparse"],
                "swiglu_limit": 0.5,
            },
            "vision_config": VISION,
        },
        config_of=soft,
    ),
)
