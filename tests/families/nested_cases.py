"""Text models inside others: their configs are nested, and other parts beside them."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .checkpoints import Arrays, weights
from .qwen_cases import DELTA, MIXED, SECTIONED

__all__ = ["NESTED"]

VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 2,
    "image_size": 8,
}
EXAONE_VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "num_key_value_heads": 1,
    "patch_size": 2,
    "out_hidden_size": 64,
}
ASR_AUDIO = {
    "num_mel_bins": 8,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "d_model": 16,
    "output_dim": 64,
    "downsample_hidden_size": 8,
}
MROPE = {"rope_type": "default", "rope_theta": 500.0, "mrope_section": [4, 4, 4]}


def predictors(*numbers: int) -> Any:
    """Adds layers of EXAONE 4.5 that predict further tokens, `mtp.*`."""

    def rename(arrays: Arrays) -> Arrays:
        last = next(name for name in arrays if ".layers.1." in name).split("1.")[0]
        new = {
            f"mtp.layers.{number}.{name.removeprefix(f'{last}1.')}": array
            for number in numbers
            for name, array in arrays.items()
            if name.startswith(f"{last}1.")
        }
        shapes = {
            "mtp.fc.weight": (64, 128),
            "mtp.pre_fc_norm_embedding.weight": (64,),
            "mtp.pre_fc_norm_hidden.weight": (64,),
            "mtp.norm.weight": (64,),
        }
        return {**arrays, **new, **weights(shapes)}

    return rename


def with_text(**more: Any) -> Any:
    """Adds keys to the config of the text model."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "text_config": {**config["text_config"], **more}}

    return config_of


EXAONE = {
    **SIZES,
    "num_hidden_layers": 2,
    "model_type": "exaone4",
    "sliding_window": None,
    "layer_types": ["full_attention"] * 2,
}

NESTED = (
    Case(
        "minicpm-v-4.6",
        "MiniCPMV4_6ForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                **DELTA,
                "num_hidden_layers": 2,
                "layer_types": MIXED[:2],
                "rope_parameters": SECTIONED,
                "model_type": "qwen3_5_text",
            },
            "vision_config": {**VISION, "insert_layer_id": 0},
        },
    ),
    Case(
        "qwen3-asr",
        "Qwen3ASRForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "num_hidden_layers": 2,
                "head_dim": 24,
                "model_type": "qwen3",
                "rope_parameters": MROPE,
            },
            "audio_config": ASR_AUDIO,
        },
    ),
    Case(
        "paddleocr-vl",
        "PaddleOCRVLForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "num_hidden_layers": 2,
                "head_dim": 24,
                "rope_parameters": MROPE,
            },
            "vision_config": VISION,
        },
    ),
    Case(
        "exaone4.5",
        "Exaone4_5_ForConditionalGeneration",
        {"text_config": EXAONE, "vision_config": EXAONE_VISION},
        config_of=with_text(num_nextn_predict_layers=2),
        rename=predictors(0, 1),
    ),
    Case(
        "exaone4.5-shared",
        "Exaone4_5_ForConditionalGeneration",
        {"text_config": EXAONE, "vision_config": EXAONE_VISION},
        config_of=with_text(num_nextn_predict_layers=2, mtp_share_layers=True),
        rename=predictors(0),
    ),
    Case(
        "hunyuan-vl",
        "HunYuanVLForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "num_hidden_layers": 2,
                "head_dim": 24,
                "rope_parameters": {
                    "rope_type": "dynamic",
                    "rope_theta": 10000.0,
                    "alpha": 1000.0,
                    "factor": 1.0,
                    "mrope_section": [3, 3, 3, 3],
                },
            },
            "vision_config": {
                **VISION,
                "text_hidden_size": 64,
                "out_hidden_size": 64,
                "max_image_size": 16,
            },
        },
    ),
    Case(
        "smolvlm",
        "SmolVLMForConditionalGeneration",
        {
            "text_config": {**SIZES, "num_hidden_layers": 2, "model_type": "llama"},
            "vision_config": VISION,
            "scale_factor": 4,
        },
        config_of=with_text(architectures=["VLlama3ForCausalLM"]),
    ),
    Case(
        "lfm2-vl",
        "Lfm2VlForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                "num_hidden_layers": 2,
                "model_type": "lfm2",
                "layer_types": ["conv", "full_attention"],
                "block_multiple_of": 16,
                "block_ffn_dim_multiplier": 1.25,
            },
            "vision_config": {**VISION, "num_patches": 16, "vision_use_head": False},
            "projector_hidden_size": 24,
        },
        config_of=with_text(architectures=["Lfm2ForCausalLM"]),
    ),
)
