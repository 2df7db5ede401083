"""Mistral's own format: params.json, other names, and rows that GGUF has as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays
from .llama_twins import renamed
from .mistral_cases import LATENT, MINISTRAL_ROPE

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
LATENT_PARTS = ("qk_nope_head_dim", "qk_rope_head_dim")
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


MOE_KEYS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
    "num_expert_groups": "n_group",
    "num_expert_groups_per_tok": "topk_group",
    "expert_hidden_dim": "moe_intermediate_size",
    "first_k_dense_replace": "first_k_dense_replace",
    "routed_scale": "routed_scaling_factor",
}
MOE_NAMES = {
    **NAMES,
    "self_attn.q_a_proj": "attention.wq_a",
    "self_attn.q_a_layernorm": "attention.q_a_norm",
    "self_attn.q_b_proj": "attention.wq_b",
    "self_attn.kv_a_proj_with_mqa": "attention.wkv_a_with_mqa",
    "self_attn.kv_a_layernorm": "attention.kv_a_norm",
    "self_attn.kv_b_proj": "attention.wkv_b",
    "mlp.shared_experts.gate_proj": "shared_experts.w1",
    "mlp.shared_experts.down_proj": "shared_experts.w2",
    "mlp.shared_experts.up_proj": "shared_experts.w3",
    "mlp.gate.": "gate.",
}


def params_with_experts(config: dict[str, Any]) -> dict[str, Any]:
    """params.json of a model with experts."""
    own = params(config)
    latent = ("q_lora_rank", "kv_lora_rank", "v_head_dim")
    own |= {key: config[key] for key in (*latent, *LATENT_PARTS)}
    moe = {new: config[old] for new, old in MOE_KEYS.items()}
    return {**own, "head_dim": 32, "moe": {**moe, "route_every_n": 1}}


def native_with_experts(arrays: Arrays) -> Arrays:
    """The tensors, with a matrix for each expert."""
    made: Arrays = {}
    for name, array in arrays.items():
        before, found, part = name.partition(".mlp.experts.")
        if not found:
            made[name] = array
            continue
        for number, matrix in enumerate(array):
            halves = np.split(matrix, 2) if part == "gate_up_proj" else [matrix]
            own = ("w1", "w3") if part == "gate_up_proj" else ("w2",)
            for key, half in zip(own, halves, strict=True):
                made[f"{before}.experts.{number}.{key}.weight"] = half.copy()
    return renamed(made, MOE_NAMES)


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
    Case(
        "mistral-native-moe",
        "Mistral4ForCausalLM",
        {**LATENT, "rope_parameters": MINISTRAL_ROPE, "tie_word_embeddings": False},
        config_of=params_with_experts,
        config_at="params.json",
        rename=native_with_experts,
    ),
)
