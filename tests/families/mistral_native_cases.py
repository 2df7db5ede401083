"""Mistral's own format: params.json, other names, and rows that GGUF has as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays
from .llama_twins import renamed
from .mistral_cases import MINISTRAL_ROPE

__all__ = ["MISTRAL_NATIVES"]

KEYS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "norm_eps": "rms_norm_eps",
    "vocab_size": "vocab_size",
    "tied_embeddings": "tie_word_embeddings",
    "max_position_embeddings": "max_position_embeddings",
}
NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "model.": "",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
}
SCALED = {**SIZES, "head_dim": 24, "rope_parameters": MINISTRAL_ROPE}


def params(config: dict[str, Any]) -> dict[str, Any]:
    """params.json, and the class by which tests sort cases."""
    rope = config["rope_parameters"]
    own = {
        "architectures": ["MistralNative"],
        **{new: config[old] for new, old in KEYS.items()},
        "rope_theta": rope["rope_theta"],
    }
    if rope["rope_type"] != "yarn":
        return own
    original = {"original_max_position_embeddings": 8}
    return {
        **own,
        "yarn": {**original, "factor": 4, "apply_scale": False, "beta": 32, "alpha": 1},
        "llama_4_scaling": {**original, "beta": 0.25},
    }


def native(arrays: Arrays) -> Arrays:
    """The tensors, with the rows that rotate together side by side."""
    sides = {
        name: np.swapaxes(array.reshape(-1, 2, 12, array.shape[1]), 1, 2)
        .reshape(array.shape)
        .copy()
        if ".q_proj." in name or ".k_proj." in name
        else array
        for name, array in arrays.items()
    }
    images = {"vision_encoder.ln_pre.weight": np.ones(4, np.float32)}
    return renamed(sides, NAMES) | images


def with_images(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a model that sees images."""
    return {**params(config), "vision_encoder": {"hidden_size": 4}}


MISTRAL_NATIVES = (
    Case(
        "mistral-native",
        "MistralForCausalLM",
        {**SIZES, "num_hidden_layers": 2, "head_dim": 24},
        config_of=with_images,
        config_at="params.json",
        rename=native,
    ),
    Case(
        "mistral-native-scaled",
        "Ministral3ForCausalLM",
        {**SCALED, "num_hidden_layers": 2},
        config_of=with_images,
        config_at="params.json",
        rename=native,
    ),
)
