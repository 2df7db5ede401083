"""Cases of Llama 4: with experts in every other layer, and without any."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, without
from .checkpoints import Arrays

__all__ = ["LLAMA4S"]

TEXT = {
    **SIZES,
    "head_dim": 24,
    "num_hidden_layers": 4,
    "intermediate_size": 40,
    "intermediate_size_mlp": 96,
    "num_local_experts": 6,
    "num_experts_per_tok": 2,
    "interleave_moe_layer_step": 2,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 5000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


def of_many_modalities(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a vision-language model, as published."""
    text = without("architectures", "moe_layers", "layer_types")(config)
    text["no_rope_layers"] = None
    return {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "text_config": text,
        "vision_config": {"model_type": "llama4_vision_model"},
    }


def beside_images(arrays: Arrays) -> Arrays:
    """The tensors with the names of a vision-language model."""
    images = {
        "multi_modal_projector.linear_1.weight": np.ones((4, 4), np.float32),
        "vision_model.class_embedding": np.ones(4, np.float32),
    }
    return images | {f"language_model.{name}": a for name, a in arrays.items()}


LLAMA4S = (
    Case("llama4", "Llama4ForCausalLM", TEXT),
    Case(
        "llama4-vision",
        "Llama4ForCausalLM",
        {
            **TEXT,
            "interleave_moe_layer_step": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        },
        config_of=of_many_modalities,
        rename=beside_images,
    ),
    Case(
        "llama4-dense",
        "Llama4ForCausalLM",
        {
            **TEXT,
            "num_hidden_layers": 2,
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "interleave_moe_layer_step": 0,
            "moe_layers": [],
            "no_rope_layers": [1, 1],
            "layer_types": ["full_attention", "full_attention"],
        },
    ),
)
