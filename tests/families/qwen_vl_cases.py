"""Cases of the text models of Qwen 2-VL to 3-VL and of Qwen Omni.

The checkpoints have vision and audio parts, too, which `convert` leaves out.
"""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .checkpoints import Arrays

__all__ = ["QWEN_VLS", "VISION"]

TEXT = {
    **SIZES,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [3, 3, 2],
    },
}
TEXT_3 = {
    **TEXT,
    "head_dim": 24,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5000.0,
        "mrope_section": [4, 4, 4],
        "mrope_interleaved": True,
    },
}
MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 40}
VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 64,
    "num_heads": 2,
    "patch_size": 4,
}
VISION_2 = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}
VISION_2 |= {"patch_size": 4}
VISION_25 = {**VISION, "fullatt_block_indexes": [0, 1]}
VISION_3 = {
    **VISION,
    "depth": 3,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0, 2],
}
AUDIO = {
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 8,
    "output_dim": 64,
    "max_source_positions": 8,
}
AUDIO_3 = {**AUDIO, "num_hidden_layers": 1, "downsample_hidden_size": 8}


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """The config as published: the text model's keys at the top."""
    text = dict(config["text_config"])
    rope = dict(text.pop("rope_parameters"))
    for key in ("model_type", "layer_types"):
        text.pop(key)
    outer = {key: value for key, value in config.items() if key != "text_config"}
    return {
        **text,
        **outer,
        "rope_theta": rope.pop("rope_theta"),
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }


def with_old_rope(config: dict[str, Any]) -> dict[str, Any]:
    """The config as published: with `rope_scaling` beside `rope_theta`."""
    text = dict(config["text_config"])
    rope = dict(text.pop("rope_parameters"))
    text["rope_theta"] = rope.pop("rope_theta")
    return {**config, "text_config": {**text, "rope_scaling": rope}}


def with_transposed_experts(arrays: Arrays) -> Arrays:
    """The matrices of experts as published: [experts, inputs, outputs]."""
    return {
        name: array.swapaxes(1, 2).copy() if ".mlp.experts." in name else array
        for name, array in arrays.items()
    }


def of_thinker(kind: str, model_type: str) -> Any:
    """A function that nests the config in that of a model that also talks."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        thinker = {k: v for k, v in config.items() if k != "architectures"}
        return {
            "architectures": [kind],
            "model_type": model_type,
            "enable_audio_output": False,
            "thinker_config": thinker,
        }

    return config_of


def thinking(arrays: Arrays) -> Arrays:
    """The tensors beside those of the part that talks."""
    own = {f"thinker.{name}": array for name, array in arrays.items()}
    talking = {"talker.model.embed_tokens.weight": arrays["lm_head.weight"]}
    return own | talking


QWEN_VLS = (
    Case(
        "qwen2vl",
        "Qwen2VLForConditionalGeneration",
        {"text_config": TEXT, "vision_config": VISION_2},
        config_of=flat,
    ),
    Case(
        "qwen2.5vl",
        "Qwen2_5_VLForConditionalGeneration",
        {"text_config": TEXT, "vision_config": VISION_25, "tie_word_embeddings": True},
    ),
    Case(
        "qwen2.5omni",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        {
            "text_config": TEXT,
            "vision_config": VISION_25,
            "audio_config": AUDIO,
        },
        config_of=of_thinker("Qwen2_5OmniModel", "qwen2_5_omni"),
        rename=thinking,
    ),
    Case(
        "qwen3vl",
        "Qwen3VLForConditionalGeneration",
        {"text_config": TEXT_3, "vision_config": VISION_3},
        config_of=with_old_rope,
    ),
    Case(
        "qwen3vl-moe",
        "Qwen3VLMoeForConditionalGeneration",
        {"text_config": {**TEXT_3, **MOE}, "vision_config": VISION_3},
        rename=with_transposed_experts,
    ),
    Case(
        "qwen3omni",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        {
            "text_config": {**TEXT_3, **MOE},
            "vision_config": VISION_3,
            "audio_config": AUDIO_3,
        },
        config_of=of_thinker("Qwen3OmniMoeForConditionalGeneration", "qwen3_omni_moe"),
        rename=thinking,
    ),
)
