"""Qwen 3 Next and 3.5: the delta rule in most layers, gated attention in the others.

transformers leaves out the layers that predict further tokens; `with_predictor` adds
them as the published checkpoints have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .case import SIZES, Case, without
from .checkpoints import Arrays, weights

__all__ = ["QWEN_HYBRIDS"]

DELTA = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "head_dim": 32,
}
EXPERTS = {
    "moe_intermediate_size": 40,
    "shared_expert_intermediate_size": 56,
    "num_experts": 5,
    "num_experts_per_tok": 2,
}
OF_EXPERTS = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
EXPERT = re.compile(r"(.+\.experts\.)(\d+)\.(\w+)\.weight")
MIXED = ["linear_attention", "full_attention", "linear_attention"]
VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
    "patch_size": 2,
}
SECTIONED = {
    "rope_type": "default",
    "rope_theta": 1e6,
    "partial_rotary_factor": 0.25,
    "mrope_interleaved": True,
    "mrope_section": [2, 1, 1],
}


def with_predictor(width: int, full: int) -> Callable[[Arrays], Arrays]:
    """A checkpoint with a layer that predicts further tokens.

    Args:
        width: of the model.
        full: the layer with full attention that it is like.
    """
    layer = re.compile(rf"(model\.)?(language_model\.)?layers\.{full}\.(.+)")
    beside = {
        "mtp.fc.weight": (width, 2 * width),
        "mtp.norm.weight": (width,),
        "mtp.pre_fc_norm_embedding.weight": (width,),
        "mtp.pre_fc_norm_hidden.weight": (width,),
    }

    def rename(arrays: Arrays) -> Arrays:
        inside = {
            f"mtp.layers.0.{match[3]}": array.shape
            for name, array in arrays.items()
            if (match := layer.fullmatch(name))
        }
        return arrays | weights(inside | beside)

    return rename


def published(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the keys that published ones have and transformers does not."""
    return {
        **config,
        "text_config": {
            **config["text_config"],
            "attn_output_gate": True,
            "full_attention_interval": 2,
            "mamba_ssm_dtype": "float32",
            "mtp_num_hidden_layers": 1,
            "mtp_use_dedicated_embeddings": False,
        },
    }


def fused(arrays: Arrays) -> Arrays:
    """A checkpoint with the experts of a layer in two tensors."""
    stacks: dict[str, dict[int, Any]] = {}
    rest = {}
    for name, array in arrays.items():
        if match := EXPERT.fullmatch(name):
            stack = stacks.setdefault(f"{match[1]}{match[3]}", {})
            stack[int(match[2])] = array
        else:
            rest[name] = array
    whole = {
        name: np.stack([stack[i] for i in range(len(stack))])
        for name, stack in stacks.items()
    }
    for name in [name for name in whole if name.endswith("gate_proj")]:
        up = whole.pop(name.replace("gate_proj", "up_proj"))
        gate = whole.pop(name)
        both = np.concatenate([gate, up], axis=1)
        whole[name.replace("gate_proj", "gate_up_proj")] = both
    return rest | whole


QWEN_HYBRIDS = (
    Case(
        "qwen3.5",
        "Qwen3_5ForCausalLM",
        {**SIZES, **DELTA, "layer_types": MIXED},
    ),
    Case(
        "qwen3.5-published",
        "Qwen3_5ForConditionalGeneration",
        {
            "text_config": {
                **SIZES,
                **DELTA,
                "num_hidden_layers": 2,
                "layer_types": MIXED[:2],
                "linear_num_value_heads": 2,
                "linear_conv_kernel_dim": 3,
                "rope_parameters": SECTIONED,
            },
            "vision_config": VISION,
            "tie_word_embeddings": True,
            "vocab_size": SIZES["vocab_size"],
        },
        config_of=published,
        rename=with_predictor(64, 1),
    ),
    Case(
        "qwen3.5-moe",
        "Qwen3_5MoeForCausalLM",
        {**OF_EXPERTS, **DELTA, **EXPERTS, "layer_types": MIXED},
    ),
    Case(
        "qwen3.5-moe-published",
        "Qwen3_5MoeForConditionalGeneration",
        {
            "text_config": {
                **OF_EXPERTS,
                **DELTA,
                **EXPERTS,
                "num_hidden_layers": 2,
                "layer_types": MIXED[:2],
                "rope_parameters": SECTIONED,
            },
            "vision_config": VISION,
            "vocab_size": SIZES["vocab_size"],
        },
        config_of=published,
        rename=lambda arrays: with_predictor(64, 1)(fused(arrays)),
    ),
    Case(
        "qwen3next",
        "Qwen3NextForCausalLM",
        {**SIZES, **DELTA, **EXPERTS, "layer_types": MIXED},
    ),
    Case(
        "qwen3next-published",
        "Qwen3NextForCausalLM",
        {
            **SIZES,
            **DELTA,
            **EXPERTS,
            "num_hidden_layers": 2,
            "full_attention_interval": 2,
            "linear_num_value_heads": 2,
        },
        config_of=lambda config: {
            **without("layer_types")(config),
            "full_attention_interval": 2,
        },
        rename=with_predictor(64, 1),
    ),
)
