"""Tiny models with encoders of sounds."""

from __future__ import annotations

from typing import Any

from .cases import GEMMA_4, MROPE, QWEN, SMALL_INPUTS, TEXT, ProjectorCase
from .other_cases import QWEN_TEXT, with_class

__all__ = ["SOUNDS"]

WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 16,
    "max_source_positions": 20,
}
VOXTRAL = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_mel_bins": 16,
    "max_source_positions": 20,
}
CONFORMER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "output_proj_dims": 48,
    "subsampling_conv_channels": [8, 4],
}


def ultravox_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of Ultravox, whose class transformers does not have."""
    width, inner = 32, 48
    shapes: dict[str, tuple[int, ...]] = {
        "audio_tower.conv1.weight": (width, 16, 3),
        "audio_tower.conv1.bias": (width,),
        "audio_tower.conv2.weight": (width, width, 3),
        "audio_tower.conv2.bias": (width,),
        "audio_tower.embed_positions.weight": (20, width),
        "multi_modal_projector.ln_pre.weight": (8 * width,),
        "multi_modal_projector.linear_1.weight": (96, 8 * width),
        "multi_modal_projector.ln_mid.weight": (48,),
        "multi_modal_projector.linear_2.weight": (64, 48),
    }
    norms = ["audio_tower.layer_norm"]
    for layer in range(3):
        at = f"audio_tower.layers.{layer}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{at}self_attn.{part}.weight"] = (width, width)
            if part != "k_proj":
                shapes[f"{at}self_attn.{part}.bias"] = (width,)
        shapes |= {f"{at}fc1.weight": (inner, width), f"{at}fc1.bias": (inner,)}
        shapes |= {f"{at}fc2.weight": (width, inner), f"{at}fc2.bias": (width,)}
        norms += [f"{at}self_attn_layer_norm", f"{at}final_layer_norm"]
    for name in norms:
        shapes |= {f"{name}.{kind}": (width,) for kind in ("weight", "bias")}
    return shapes


def published_omni(config: dict[str, Any]) -> dict[str, Any]:
    """The config of Qwen 2.5 Omni with its published class."""
    return dict(with_class("Qwen2_5OmniModel")(config))


SOUNDS = (
    ProjectorCase(
        "qwen2-audio",
        "Qwen2AudioForConditionalGeneration",
        {"text_config": QWEN_TEXT, "audio_config": WHISPER},
        images={},
        is_brief=True,
    ),
    ProjectorCase(
        "ultravox",
        None,
        {
            "architectures": ["UltravoxModel"],
            "model_type": "ultravox",
            "hidden_size": 64,
            "stack_factor": 8,
            "text_config": {**TEXT, "architectures": ["LlamaForCausalLM"]},
            "audio_config": {**WHISPER, "model_type": "whisper"},
        },
        shapes=ultravox_shapes(),
        images={},
        is_brief=True,
    ),
    ProjectorCase(
        "voxtral",
        "VoxtralForConditionalGeneration",
        {"text_config": {**TEXT, "model_type": "llama"}, "audio_config": VOXTRAL},
        images={},
        is_brief=True,
    ),
    ProjectorCase(
        "audio-flamingo-3",
        "AudioFlamingo3ForConditionalGeneration",
        {
            "text_config": QWEN_TEXT,
            "audio_config": {**VOXTRAL, "intermediate_size": 48},
        },
        images={},
        is_brief=True,
    ),
    ProjectorCase(
        "qwen2.5-omni",
        "Qwen2_5OmniForConditionalGeneration",
        {
            "thinker_config": {
                "text_config": MROPE,
                "vision_config": {**QWEN, "depth": 4, "fullatt_block_indexes": [1, 3]},
                "audio_config": {**WHISPER, "output_dim": 64},
            },
            "enable_audio_output": False,
        },
        config_of=published_omni,
        nearest=("a.position_embd.weight",),
        is_brief=True,
    ),
    ProjectorCase(
        "gemma4-audio",
        "Gemma4ForConditionalGeneration",
        {
            "text_config": {**TEXT, **SMALL_INPUTS},
            "vision_config": {**GEMMA_4, "num_hidden_layers": 1},
            "audio_config": CONFORMER,
        },
        is_brief=True,
    ),
    ProjectorCase(
        "gemma4-unified",
        "Gemma4UnifiedForConditionalGeneration",
        {
            "text_config": TEXT,
            "vision_config": {
                "mm_embed_dim": 32,
                "output_proj_dims": 32,
                "mm_posemb_size": 12,
                "patch_size": 2,
                "pooling_kernel_size": 2,
            },
            "audio_config": {"audio_embed_dim": 24},
        },
        is_brief=True,
    ),
)
