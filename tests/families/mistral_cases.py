"""Cases of Mistral Small 3.1 to 4, Ministral 3 and LLaVA.

The checkpoints of multimodal models have vision parts, too, which `convert` leaves out.
"""

from __future__ import annotations

from typing import Any

from quantkit.gguf.keys import float32

from .case import SIZES, YARN, Case

__all__ = ["MISTRALS"]

PIXTRAL: dict[str, Any] = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 16,
    "patch_size": 4,
    "image_size": 16,
}
# A step of the temperature and YaRN's interpolation within the 24 tokens of a case.
MINISTRAL_ROPE = {
    **YARN,
    "original_max_position_embeddings": 8,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.25,
}

MISTRALS = (
    Case(
        "mistral3",
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {**SIZES, "model_type": "mistral", "head_dim": 24},
            "vision_config": PIXTRAL,
            "tie_word_embeddings": False,
        },
    ),
    Case(
        "mistral3-ministral",
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "model_type": "ministral3",
                "head_dim": 24,
                "rope_parameters": {**MINISTRAL_ROPE, "mscale": 0.5},
            },
            "vision_config": PIXTRAL,
        },
        added={"mistral3.rope.scaling.attn_factor": float32(0.9391244)},
    ),
    Case(
        "ministral3",
        "Ministral3ForCausalLM",
        {**SIZES, "head_dim": 24, "rope_parameters": MINISTRAL_ROPE},
    ),
    Case(
        "llava",
        "LlavaForConditionalGeneration",
        {
            "text_config": {**SIZES, "model_type": "llama"},
            "vision_config": {**PIXTRAL, "model_type": "clip_vision_model"},
            "tie_word_embeddings": False,
        },
    ),
)
