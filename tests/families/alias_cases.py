"""Classes whose checkpoints are those of others, under other names."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .checkpoints import Arrays
from .llama_twins import renamed

__all__ = ["ALIASES", "bare", "called"]


def called(name: str, **changes: Any) -> Any:
    """A config with another class, and other changes."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "architectures": [name], **changes}

    return config_of


def bare(arrays: Arrays) -> Arrays:
    """Without the head, and without what the names of the others start with."""
    return {
        name.removeprefix("model."): array
        for name, array in arrays.items()
        if not name.startswith("lm_head")
    }


def kormo(arrays: Arrays) -> Arrays:
    """With KORMo's names of norms."""
    names = {
        "input_layernorm": "pre_attention_layernorm",
        "post_attention_layernorm": "pre_mlp_layernorm",
    }
    return renamed(arrays, names)


def sarashina(arrays: Arrays) -> Arrays:
    """Inside another model, beside a norm that is not its own."""
    inside = {f"llm.{name}": array for name, array in arrays.items()}
    return {**inside, "norm.weight": arrays["model.norm.weight"]}


AUDIO = {
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 8,
    "max_source_positions": 8,
}
VOXTRAL_AUDIO = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_mel_bins": 8,
    "max_source_positions": 8,
}

TIED = {**SIZES, "tie_word_embeddings": True}

ALIASES = (
    Case(
        "qwen2-bare",
        "Qwen2ForCausalLM",
        TIED,
        config_of=called("Qwen2Model"),
        rename=bare,
    ),
    Case(
        "qwen3-bare",
        "Qwen3ForCausalLM",
        {**TIED, "head_dim": 32},
        config_of=called("Qwen3Model"),
        rename=bare,
    ),
    Case(
        "llama-bare",
        "LlamaForCausalLM",
        TIED,
        config_of=called("LlamaModel"),
        rename=bare,
    ),
    Case(
        "kormo",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 32},
        config_of=called("KORMoForCausalLM", model_type="kormo"),
        rename=kormo,
    ),
    Case(
        "dots-ocr",
        "Qwen2ForCausalLM",
        SIZES,
        config_of=called("DotsOCRForCausalLM", model_type="dots_ocr"),
    ),
    Case(
        "iquestcoder",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 32},
        config_of=called("IQuestCoderForCausalLM", model_type="iquestcoder"),
    ),
    Case(
        "sarashina2-vision",
        "LlamaForCausalLM",
        SIZES,
        config_of=called("Sarashina2VisionForCausalLM", model_type="sarashina2_vision"),
        rename=sarashina,
    ),
    Case(
        "vllama3",
        "LlamaForCausalLM",
        SIZES,
        config_of=called("VLlama3ForCausalLM", model_type="vllama3"),
        rename=lambda arrays: renamed(arrays, {"model.": "model.text_model."}),
    ),
    Case(
        "qwen2-audio",
        "Qwen2AudioForConditionalGeneration",
        {"text_config": {**SIZES, "model_type": "qwen2"}, "audio_config": AUDIO},
    ),
    Case(
        "audio-flamingo3",
        "AudioFlamingo3ForConditionalGeneration",
        {
            "text_config": {**SIZES, "model_type": "qwen2"},
            "audio_config": VOXTRAL_AUDIO,
        },
    ),
    Case(
        "voxtral",
        "VoxtralForConditionalGeneration",
        {
            "text_config": {**SIZES, "model_type": "llama", "head_dim": 32},
            "audio_config": VOXTRAL_AUDIO,
        },
    ),
    Case(
        "janus",
        "JanusForConditionalGeneration",
        {
            "text_config": {**SIZES, "model_type": "llama"},
            "vision_config": {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 16,
                "patch_size": 8,
                "projection_dim": 64,
                "depth": 1,
            },
            "vq_config": {
                "embed_dim": 4,
                "num_embeddings": 8,
                "base_channels": 32,
                "channel_multiplier": [1, 1],
                "num_res_blocks": 1,
                "latent_channels": 32,
                "image_token_embed_dim": 16,
                "projection_dim": 16,
                "num_patches": 2,
            },
        },
    ),
    Case(
        "llava-stablelm",
        "StableLmForCausalLM",
        SIZES,
        config_of=called(
            "LlavaStableLMEpochForCausalLM", model_type="llava_stablelm_epoch"
        ),
    ),
    Case(
        "phi4-vision",
        "Phi3ForCausalLM",
        SIZES,
        config_of=called("Phi4ForCausalLMV", model_type="phi4-siglip"),
    ),
)
