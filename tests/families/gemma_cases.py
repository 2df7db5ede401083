"""Cases of Gemma 1, 2 and 3."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, as_version_4
from .checkpoints import Arrays

__all__ = ["GEMMAS"]

TIED = {**SIZES, "head_dim": 24, "tie_word_embeddings": True}
GEMMA_2 = {**TIED, "query_pre_attn_scalar": 24, "sliding_window": 8}
GEMMA_3 = {**GEMMA_2, "num_hidden_layers": 7, "num_attention_heads": 8}
STATED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "head_dim",
    "num_key_value_heads",
    "query_pre_attn_scalar",
    "sliding_window",
    "vocab_size",
)


def of_many_modalities(config: dict[str, Any]) -> dict[str, Any]:
    """The text config nested, with as few keys as that of gemma-3-4b-it."""
    scaling = {"factor": 8.0, "rope_type": "linear"}
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "rope_scaling": scaling,
            **{key: config[key] for key in STATED},
        },
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 48},
    }


def beside_images(arrays: Arrays) -> Arrays:
    """The tensors with the names of a vision-language model."""
    images = {
        "vision_tower.vision_model.head.weight": np.ones((4, 4), np.float32),
        "multi_modal_projector.mm_soft_emb_norm.weight": np.ones(4, np.float32),
    }
    return images | {f"language_model.{name}": a for name, a in arrays.items()}


GEMMAS = (
    Case("gemma", "GemmaForCausalLM", TIED, config_of=as_version_4),
    Case("gemma2", "Gemma2ForCausalLM", {**GEMMA_2, "attn_logit_softcapping": 2.0}),
    Case("gemma3", "Gemma3ForCausalLM", {**GEMMA_3, "final_logit_softcapping": 30.0}),
    Case(
        "gemma3-vision",
        "Gemma3ForCausalLM",
        {
            **GEMMA_3,
            "num_hidden_layers": 6,
            "max_position_embeddings": 131072,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_type": "default"},
            },
        },
        config_of=of_many_modalities,
        rename=beside_images,
    ),
    Case(
        "gemma3-no-window",
        "Gemma3ForCausalLM",
        {**GEMMA_3, "num_hidden_layers": 2, "sliding_window_pattern": 1},
    ),
)
