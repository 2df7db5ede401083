"""Checkpoints of remote code and of old formats, made from those of their twins.

A twin computes the same with a class that transformers has: its weights under other
names, cut or joined in another way, or scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .checkpoints import Arrays

__all__ = [
    "baichuan",
    "baichuan_config",
    "ernie_fused",
    "experts_in_one",
    "internlm2",
    "internlm2_config",
    "joined",
    "minicpm_config",
    "old_llama_config",
    "old_style",
    "qwen",
    "qwen_config",
    "renamed",
    "with_alibi",
    "with_frequencies",
]

HEADS, KEY_HEADS = 4, 2
NEW_KEYS = ("rope_parameters", "transformers_version", "layer_types")


def renamed(arrays: Arrays, names: Mapping[str, str]) -> Arrays:
    """Tensors with parts of their names replaced."""
    new = {}
    for name, array in arrays.items():
        for old, text in names.items():
            name = name.replace(old, text)
        new[name] = array
    return new


def joined(arrays: Arrays, parts: tuple[str, ...], whole: str) -> Arrays:
    """Concatenate tensors whose names differ only in `parts`, as `whole`."""
    new: Arrays = {}
    for name, array in arrays.items():
        part = next((part for part in parts if f".{part}." in name), None)
        if part is None:
            new[name] = array
        elif part == parts[0]:
            sources = [name.replace(f".{part}.", f".{other}.") for other in parts]
            target = name.replace(f".{part}.", f".{whole}.")
            new[target] = np.concatenate([arrays[source] for source in sources])
    return new


def old_style(config: dict[str, Any]) -> dict[str, Any]:
    """The config as transformers 4 wrote it, with the rotation's keys at the top."""
    old = {key: config[key] for key in config if key not in NEW_KEYS}
    rope = dict(config["rope_parameters"])
    old["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    old["rope_scaling"] = None
    if kind == "llama3":
        old["rope_scaling"] = {**rope, "rope_type": kind}
    elif kind != "default":
        old["rope_scaling"] = {**rope, "type": kind}
    if "head_dim" in old and old["head_dim"] == old["hidden_size"] // HEADS:
        old["head_dim"] = None
    return old


def old_llama_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the first LLaMA checkpoints, which had few keys."""
    kept = ("hidden_act", "hidden_size", "intermediate_size", "num_attention_heads")
    return {
        "architectures": ["LLaMAForCausalLM"],
        **{key: config[key] for key in kept},
        "num_hidden_layers": config["num_hidden_layers"],
        "vocab_size": config["vocab_size"],
        "max_sequence_length": 2048,
        "model_type": "llama",
        "pad_token_id": -1,
    }


def with_frequencies(arrays: Arrays) -> Arrays:
    """Add the rotary frequencies that old checkpoints store in each layer."""
    own = {
        name.replace("o_proj.weight", "rotary_emb.inv_freq"): np.ones(8, np.float32)
        for name in arrays
        if name.endswith(".o_proj.weight")
    }
    return arrays | own


def qwen(arrays: Arrays) -> Arrays:
    """Qwen 1 from Qwen 2 with as many key heads as heads."""
    fused = joined(arrays, ("q_proj", "k_proj", "v_proj"), "c_attn")
    names = {
        "model.layers": "transformer.h",
        "model.embed_tokens": "transformer.wte",
        "model.norm": "transformer.ln_f",
        "self_attn.c_attn": "attn.c_attn",
        "self_attn.o_proj": "attn.c_proj",
        "input_layernorm": "ln_1",
        "post_attention_layernorm": "ln_2",
        "mlp.up_proj": "mlp.w1",
        "mlp.gate_proj": "mlp.w2",
        "mlp.down_proj": "mlp.c_proj",
    }
    return renamed(fused, names)


def qwen_config(config: dict[str, Any]) -> dict[str, Any]:
    """In Qwen 1 the feed-forward size counts gate and up together."""
    kept = ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
    return {
        "architectures": ["QWenLMHeadModel"],
        **{key: config[key] for key in kept},
        "intermediate_size": 2 * config["intermediate_size"],
        "layer_norm_epsilon": config["rms_norm_eps"],
        "max_position_embeddings": config["max_position_embeddings"],
        "model_type": "qwen",
        "no_bias": True,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "seq_length": 256,
        "tie_word_embeddings": False,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
    }


def minicpm_config(config: dict[str, Any]) -> dict[str, Any]:
    """MiniCPM from Granite, which has the same scales under other names."""
    dropped = (*NEW_KEYS, "rope_theta", "head_dim", "attention_multiplier")
    own = {key: config[key] for key in config if key not in dropped}
    for name in ("embedding_multiplier", "residual_multiplier", "logits_scaling"):
        own.pop(name)
    rope = config["rope_parameters"]
    if rope["rope_type"] != "default":
        own["rope_scaling"] = {k: v for k, v in rope.items() if k != "rope_theta"}
    return {
        **own,
        "architectures": ["MiniCPMForCausalLM"],
        "model_type": "minicpm",
        "scale_emb": config["embedding_multiplier"],
        "scale_depth": config["residual_multiplier"]
        * config["num_hidden_layers"] ** 0.5,
        "dim_model_base": config["hidden_size"] / config["logits_scaling"],
    }


def internlm2(arrays: Arrays) -> Arrays:
    """InternLM 2 from Llama: groups of query heads with their key and value head."""
    new: Arrays = {}
    for name, array in arrays.items():
        if ".q_proj." in name:
            parts = [
                arrays[name.replace(".q_proj.", f".{part}.")].reshape(
                    KEY_HEADS, -1, array.shape[0] // HEADS, *array.shape[1:]
                )
                for part in ("q_proj", "k_proj", "v_proj")
            ]
            whole = np.concatenate(parts, axis=1).reshape(-1, *array.shape[1:])
            new[name.replace("self_attn.q_proj", "attention.wqkv")] = whole
        elif ".k_proj." not in name and ".v_proj." not in name:
            new[name] = array
    names = {
        "model.embed_tokens": "model.tok_embeddings",
        "lm_head": "output",
        "self_attn.o_proj": "attention.wo",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "feed_forward.w1",
        "mlp.down_proj": "feed_forward.w2",
        "mlp.up_proj": "feed_forward.w3",
    }
    return renamed(new, names)


def internlm2_config(config: dict[str, Any]) -> dict[str, Any]:
    """InternLM 2 scales only beyond its training length."""
    old = old_style(config)
    old.pop("head_dim")
    return {
        **old,
        "architectures": ["InternLM2ForCausalLM"],
        "model_type": "internlm2",
        "bias": False,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    }


def baichuan(arrays: Arrays) -> Arrays:
    """Baichuan from Llama with as many key heads as heads."""
    return joined(arrays, ("q_proj", "k_proj", "v_proj"), "W_pack")


def baichuan_config(config: dict[str, Any]) -> dict[str, Any]:
    """Baichuan's config has no keys for the rotation."""
    dropped = (*NEW_KEYS, "head_dim", "num_key_value_heads", "rope_theta")
    own = {key: config[key] for key in config if key not in dropped}
    return {**own, "architectures": ["BaichuanForCausalLM"], "model_type": "baichuan"}


def with_alibi(model: Any) -> None:
    """A Llama of transformers with ALiBi instead of rotary embedding."""
    import torch

    n_heads = model.config.num_attention_heads
    n_even = 1 << (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / n_even) for i in range(n_even)]
    slopes += [2 ** (-4 * (2 * i + 1) / n_even) for i in range(n_heads - n_even)]
    model.model.rotary_emb.inv_freq.zero_()

    def add_bias(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        mask = kwargs["attention_mask"]
        places = torch.arange(mask.shape[-1])
        distance = places[:, None] - places
        bias = -torch.tensor(slopes)[:, None, None] * distance.clamp(min=0)
        return args, {**kwargs, "attention_mask": mask + bias}

    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(add_bias, with_kwargs=True)


def ernie_fused(arrays: Arrays) -> Arrays:
    """The layout of checkpoints for Paddle."""
    arrays = joined(arrays, ("q_proj", "k_proj", "v_proj"), "qkv_proj")
    arrays = joined(arrays, ("gate_proj", "up_proj"), "up_gate_proj")
    return renamed(arrays, {"model.": "ernie."})


def experts_in_one(arrays: Arrays) -> Arrays:
    """The experts of each layer as one tensor for gate and up, and one for down."""
    new: Arrays = {}
    stacks: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        before, _, after = name.partition(".mlp.experts.")
        if not after:
            new[name] = array
            continue
        part = after.split(".")[1]
        stacks.setdefault(f"{before}.mlp.experts.{part}", []).append(array)
    for name, matrices in stacks.items():
        if name.endswith(".gate_proj"):
            up = stacks[name.replace(".gate_proj", ".up_proj")]
            both = [np.concatenate(pair) for pair in zip(matrices, up, strict=True)]
            new[name.replace(".gate_proj", ".gate_up_proj")] = np.stack(both)
        elif name.endswith(".down_proj"):
            new[name] = np.stack(matrices)
    return new
