"""Step 3.5, 3.7 and 3 VL: heads and rotation by layer, gates of heads, cut SwiGLU."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays

__all__ = ["STEPS"]

N_LAYERS = 4
FULL, SLIDING = "full_attention", "sliding_attention"
LAYERS = {
    "layer_types": [FULL, SLIDING, SLIDING, SLIDING],
    "rope_theta": [640000.0, 10000.0, 10000.0, 10000.0],
    "partial_rotary_factors": [0.5, 1.0, 1.0, 1.0],
}
OTHER = {"attention_type": SLIDING, "num_attention_heads": 8, "num_attention_groups": 4}
STEP_3_5 = {
    **{k: v for k, v in SIZES.items() if k not in ("num_key_value_heads",)},
    **LAYERS,
    "num_hidden_layers": N_LAYERS,
    "num_attention_groups": 4,
    "head_dim": 24,
    "moe_intermediate_size": 48,
    "moe_num_experts": 5,
    "moe_top_k": 2,
    "share_expert_dim": 40,
    "sliding_window": 8,
    "moe_layers_enum": "1,2,3",
    "attention_other_setting": OTHER,
    "moe_router_scaling_factor": 3.0,
}
DIVISORS = {
    "rope_type": "llama3",
    "factor": 2.0,
    "original_max_position_embeddings": 64,
    "low_freq_factor": 1.0,
    "high_freq_factor": 32.0,
}
LIMITS = {
    "swiglu_limits": [0.0, None, 0.5, 0.4],
    "swiglu_limits_shared": [0.3, 0.0, 0.6, None],
}
VISION = {"width": 8, "layers": 1, "heads": 2, "image_size": 28, "patch_size": 14}


def published_config(own: dict[str, Any]) -> Any:
    """The config with the keys of published checkpoints."""

    def config_of(_: dict[str, Any]) -> dict[str, Any]:
        return {
            "architectures": ["Step3p5ForCausalLM"],
            "model_type": "step3p5",
            **own,
            "att_impl_type": "GQA",
            "moe_every_n_layer": 1,
            "moe_layer_offset": 0,
            "moe_router_activation": "sigmoid",
            "need_fp32_gate": True,
            "norm_expert_weight": True,
            "rms_norm_eps": 1e-5,
            "use_head_wise_attn_gate": True,
            "use_mfa": False,
            "use_moe": True,
            "use_moe_router_bias": True,
            "use_qk_norm": True,
            "use_rope_layers": [],
            "yarn_only_types": [FULL],
            "zero_centered": True,
        }

    return config_of


def with_vision(own: dict[str, Any]) -> Any:
    """The config of Step 3.7, whose text model is a Step 3.5."""

    def config_of(written: dict[str, Any]) -> dict[str, Any]:
        text = published_config(own)(written)
        text.pop("architectures")
        return {
            "architectures": ["Step3p7ForConditionalGeneration"],
            "model_type": "step3p7",
            "text_config": text,
            "understand_projector_stride": 2,
            "vision_config": VISION,
        }

    return config_of


def of_text(arrays: Arrays) -> Arrays:
    """The tensors without those of images, and with a layer after the last one."""
    text = {k: a for k, a in arrays.items() if k.startswith(("model.", "lm_head."))}
    last, more = (f"model.layers.{i}." for i in (1, N_LAYERS))
    layer = {
        name.replace(last, more): array
        for name, array in text.items()
        if name.startswith(last)
    }
    norm = arrays["model.norm.weight"]
    own = {
        "enorm": norm,
        "hnorm": norm,
        "eh_proj": np.ones((64, 128), np.float32),
        "transformer.shared_head.norm": norm,
        "transformer.shared_head.output": arrays["lm_head.weight"],
    }
    return text | layer | {f"{more}{name}.weight": a for name, a in own.items()}


def for_transformers(own: dict[str, Any]) -> dict[str, Any]:
    """What its class gets: a text model beside a tiny one of images."""
    return {"text_config": own, "vision_config": VISION}


SCALED = {**STEP_3_5, "rope_scaling": DIVISORS}
CUT = {**STEP_3_5, **LIMITS, "moe_layers_enum": "0,1,2,3"}
PREDICTING = {
    **SCALED,
    "num_nextn_predict_layers": 1,
    **{
        key: [*values, values[1]]
        for key, values in LAYERS.items()
        if isinstance(values, list)
    },
}
VL = {**SIZES, "num_hidden_layers": 2, "head_dim": 24}


def step_vl_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of Step 3 VL, whose text model is a Qwen 3."""
    own = ("architectures", "transformers_version", "dtype")
    return {
        "architectures": ["StepVLForConditionalGeneration"],
        "model_type": "step_robotics",
        "text_config": {k: v for k, v in config.items() if k not in own},
        "vision_config": VISION,
    }


def beside_images(arrays: Arrays) -> Arrays:
    """The tensors of a vision-language model."""
    images = {
        "vision_model.conv1.weight": np.ones((4, 4), np.float32),
        "vit_large_projector.weight": np.ones((4, 4), np.float32),
    }
    return images | arrays


STEPS = (
    Case(
        "step3.5",
        "Step3p7ForConditionalGeneration",
        for_transformers(SCALED),
        config_of=published_config(PREDICTING),
        rename=of_text,
        is_raw=True,
    ),
    Case(
        "step3.7",
        "Step3p7ForConditionalGeneration",
        for_transformers(CUT),
        config_of=with_vision(CUT),
        is_raw=True,
    ),
    Case(
        "step3-vl",
        "Qwen3ForCausalLM",
        VL,
        config_of=step_vl_config,
        rename=beside_images,
    ),
)
