"""The checkpoint's projection of latent attention, as the two tensors of GGUF."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken, transposed
from ..checkpoint.lazy_functions import as_floats
from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import required

__all__ = ["LATENT_ATTENTION", "latent_fields", "split_latent"]

LATENT_ATTENTION = {
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.k_b_proj": "attn_k_b",
    "self_attn.v_b_proj": "attn_v_b",
}
"""Module in a layer -> GGUF name, for what ordinary attention does not have."""


def split_latent(
    source: str, tensor: LazyTensor, config: Config
) -> Iterator[tuple[str, LazyTensor]]:
    """The name and tensor themselves, but for `kv_b_proj`: its keys and its values.

    Keys are transposed for each head.
    """
    if not source.endswith(".kv_b_proj.weight"):
        yield source, tensor
        return
    n_heads = required(config, "num_key_value_heads", "num_attention_heads")
    n_keys, n_values = (
        required(config, key) for key in ("qk_nope_head_dim", "v_head_dim")
    )
    heads = reshaped(tensor, (n_heads, n_keys + n_values, tensor.shape[-1]))
    keys = taken(heads, np.arange(n_keys), axis=1)
    keys = transposed(as_floats(keys) if keys.type.is_quantized else keys)
    values = taken(heads, np.arange(n_keys, n_keys + n_values), axis=1)
    for part, made in (("k_b_proj", keys), ("v_b_proj", values)):
        yield source.replace("kv_b_proj", part), made


def latent_fields(config: Config) -> dict[str, Field]:
    """The metadata of latent attention, in llama.cpp's order."""
    rank, n_turned, n_keys = (
        required(config, key)
        for key in ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim")
    )
    return {
        "attention.kv_lora_rank": uint32(rank),
        "rope.dimension_count": uint32(n_turned),
        "attention.key_length": uint32(rank + n_turned),
        "attention.key_length_mla": uint32(n_keys + n_turned),
        "attention.value_length_mla": uint32(required(config, "v_head_dim")),
    }
