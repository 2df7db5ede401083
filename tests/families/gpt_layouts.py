"""Checkpoints of GPT-2 and its successors as they were published.

Their tensors have other names than those that transformers writes today, and masks and
frequencies are stored among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .checkpoints import Arrays
from .llama_twins import renamed

__all__ = [
    "bloom_config",
    "falcon_config",
    "gpt2_config",
    "pythia",
    "rugpt3xl",
    "with_masks",
    "with_stored_head",
    "without_prefix",
]

CONTEXT = 16


def without_prefix(arrays: Arrays) -> Arrays:
    """The tensor names of a model without a head."""
    return {name.removeprefix("transformer."): a for name, a in arrays.items()}


def with_masks(arrays: Arrays) -> Arrays:
    """GPT-2's, as openai-community/gpt2 has them."""
    mask = np.tril(np.ones((1, 1, CONTEXT, CONTEXT), np.float32))
    new: Arrays = {}
    for name, array in without_prefix(arrays).items():
        new[name] = array
        if name.endswith(".attn.c_attn.weight"):
            new[name.replace("c_attn.weight", "bias")] = mask
    return new


def pythia(arrays: Arrays) -> Arrays:
    """GPT-NeoX's, as EleutherAI/pythia-70m has them."""
    new: Arrays = {}
    for name, array in arrays.items():
        new[name] = array
        if name.endswith(".attention.dense.weight"):
            at = name.removesuffix("dense.weight")
            new[f"{at}bias"] = np.tril(np.ones((1, 1, CONTEXT, CONTEXT), np.uint8))
            new[f"{at}masked_bias"] = np.array(-1e9, np.float32)
            new[f"{at}rotary_emb.inv_freq"] = np.ones(2, np.float16)
    return new


def with_stored_head(arrays: Arrays) -> Arrays:
    """Store the tied head as well."""
    return {"lm_head.weight": arrays["transformer.word_embeddings.weight"], **arrays}


def gpt2_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the config of openai-community/gpt2 says."""
    kept = ("n_embd", "n_head", "n_layer", "n_positions", "vocab_size")
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "layer_norm_epsilon": config["layer_norm_epsilon"],
        "model_type": "gpt2",
        "n_ctx": config["n_positions"],
        **{key: config[key] for key in kept},
    }


def bloom_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the config of bigscience/bloom-560m says."""
    return {
        "apply_residual_connection_post_layernorm": False,
        "architectures": ["BloomForCausalLM"],
        "layer_norm_epsilon": config["layer_norm_epsilon"],
        "model_type": "bloom",
        "n_embed": config["hidden_size"],
        "n_inner": None,
        "n_layer": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "offset_alibi": 100,
        "vocab_size": config["vocab_size"],
    }


def falcon_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the first config of tiiuae/falcon-7b said."""
    return {
        "alibi": False,
        "architectures": ["RWForCausalLM"],
        "bias": False,
        "hidden_size": config["hidden_size"],
        "layer_norm_epsilon": config["layer_norm_epsilon"],
        "model_type": "RefinedWebModel",
        "multi_query": True,
        "n_head": config["num_attention_heads"],
        "n_layer": config["num_hidden_layers"],
        "parallel_attn": True,
        "vocab_size": config["vocab_size"],
    }


def rugpt3xl(arrays: Arrays) -> Arrays:
    """The tensors of ruGPT-3 XL, from those of a GPT-2."""
    names = {
        "transformer.wte": "model.embed_tokens",
        "transformer.wpe": "model.embed_positions",
        "transformer.ln_f": "model.norm",
        "transformer.h.": "model.layers.",
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        "attn.c_proj": "self_attn.o_proj",
        "mlp.c_fc": "mlp.up_proj",
        "mlp.c_proj": "mlp.down_proj",
    }
    new: Arrays = {}
    for name, array in renamed(arrays, names).items():
        turned = array.T.copy() if "_proj.weight" in name else array
        if ".attn.c_attn." not in name:
            new[name] = turned
            continue
        rows = np.split(array.T if array.ndim == 2 else array, 3)
        for part, each in zip("qkv", rows, strict=True):
            at = name.replace("attn.c_attn", f"self_attn.{part}_proj")
            new[at] = each.copy()
    return new
