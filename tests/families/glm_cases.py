"""Cases of GLM-4 and ChatGLM; Glm is ChatGLM's twin in transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, as_version_4, without
from .checkpoints import Arrays

__all__ = ["GLMS"]

# What GGUF cannot say of the architecture is as its readers assume.
GLM = {**SIZES, "head_dim": 16, "rms_norm_eps": 1e-5}
CHATGLM_NAMES = {
    "model.embed_tokens.": "transformer.embedding.word_embeddings.",
    "model.norm.": "transformer.encoder.final_layernorm.",
    "lm_head.": "transformer.output_layer.",
    "model.layers.": "transformer.encoder.layers.",
    "self_attn.o_proj.": "self_attention.dense.",
    "mlp.gate_up_proj.": "mlp.dense_h_to_4h.",
    "mlp.down_proj.": "mlp.dense_4h_to_h.",
    "self_attn.q_proj.": "self_attention.query_key_value.",
}


def of_chatglm(config: dict[str, Any]) -> dict[str, Any]:
    """The config as ChatGLM's own class has it."""
    return {
        "architectures": ["ChatGLMModel"],
        "model_type": "chatglm",
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "num_attention_heads": config["num_attention_heads"],
        "multi_query_group_num": config["num_key_value_heads"],
        "ffn_hidden_size": config["intermediate_size"],
        "layernorm_epsilon": config["rms_norm_eps"],
        "seq_length": config["max_position_embeddings"],
        "rope_ratio": config["rope_parameters"]["rope_theta"] / 10000,
        "padded_vocab_size": config["vocab_size"],
        "rmsnorm": True,
        "post_layer_norm": True,
        "apply_residual_connection_post_layernorm": False,
    }


def with_fused_names(arrays: Arrays) -> Arrays:
    """The tensors as ChatGLM stores them."""
    renamed = {"transformer.rotary_pos_emb.inv_freq": np.ones(4, np.float32)}
    for name, array in arrays.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [arrays[name.replace(".q_", f".{part}_")] for part in "qkv"]
            array = np.concatenate(parts)
        for old, new in CHATGLM_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = array
    return renamed


def of_many_modalities(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a vision-language model."""
    text = without("architectures", "model_type", "rope_parameters")(config)
    scaling = {"mrope_section": [1, 2, 3], "rope_type": "default"}
    rope = {"rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_scaling": scaling}
    return {
        "architectures": ["Glm4vForConditionalGeneration"],
        "model_type": "glm4v",
        "text_config": {"model_type": "glm4v_text", **text, **rope},
        "vision_config": {"model_type": "glm4v_vision"},
    }


def beside_images(arrays: Arrays) -> Arrays:
    """The tensors with the names of a vision-language model."""
    images = {"model.visual.merger.proj.weight": np.ones((4, 4), np.float32)}
    return images | {
        name.replace("model.", "model.language_model."): array
        for name, array in arrays.items()
    }


GLMS = (
    Case("glm", "GlmForCausalLM", GLM),
    Case(
        "chatglm",
        "GlmForCausalLM",
        {
            **GLM,
            "rms_norm_eps": 1.5625e-07,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5000000.0,
                "partial_rotary_factor": 0.5,
            },
        },
        config_of=of_chatglm,
        rename=with_fused_names,
    ),
    Case("glm4", "Glm4ForCausalLM", {**SIZES, "head_dim": 24, "attention_bias": False}),
    Case(
        "glm4-bias",
        "Glm4ForCausalLM",
        {**SIZES, "head_dim": 16, "rope_parameters": None},
        config_of=lambda config: without("rms_norm_eps")(as_version_4(config)),
    ),
    Case(
        "glm4v",
        "Glm4ForCausalLM",
        {
            **SIZES,
            "head_dim": 24,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.5,
            },
        },
        config_of=of_many_modalities,
        rename=beside_images,
    ),
)
