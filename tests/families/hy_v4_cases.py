"""HY 4: latent attention with sinks, and independent hyper-connections.

transformers rotates the two halves of a head's rotated part; GGUF readers, consecutive
components, of the same checkpoint.  So the checkpoints here have their rows in the
order in which readers compute what transformers' model does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, without
from .checkpoints import Arrays
from .glm_moe_cases import SPARSE

__all__ = ["HY_V4S"]

SMALL = {
    **SPARSE,
    "head_dim": 12,
    "hc_mult": 3,
    "hc_magnitude": 1.5,
    "hc_eps": 1e-3,
    "swiglu_limit": 0.5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}
N_TURNED, KEY_SIZE, RANK = 12, 32, 24
PUBLISHED = (
    (".hc_pre.hc_attn_layer.", ".hc_attn_layer.hc_pre."),
    (".hc_pre.hc_mlp_layer.", ".hc_mlp_layer.hc_pre."),
    (".hc_pre.hc_head.", ".hc_head."),
    (".linear_gate.", ".gate_proj."),
)
HEADS = {
    ".self_attn.q_b_proj.weight": KEY_SIZE,
    ".self_attn.kv_a_proj_with_mqa.weight": RANK + N_TURNED,
    ".self_attn.indexer.wq_b.weight": 128,
    ".self_attn.indexer.wk.weight": 128,
    ".self_attn.indexer.k_norm.weight": 128,
    ".self_attn.indexer.k_norm.bias": 128,
}
"""End of a tensor's name -> the size of its heads, whose last components rotate."""


def published(arrays: Arrays) -> Arrays:
    """The tensors with published names, and rows in the order of GGUF readers."""
    made = {}
    for name, array in arrays.items():
        for old, new in PUBLISHED:
            name = name.replace(old, new)
        for end, size in HEADS.items():
            if name.endswith(end):
                array = in_pairs(array, size)
        made[name] = array
    return made


def in_pairs(array: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Rows whose rotated components are in pairs, from those in two halves."""
    start = size - N_TURNED
    halves = np.arange(start, size).reshape(2, -1)
    order = np.concatenate([np.arange(start), halves.T.ravel()])
    return array.reshape(-1, size, *array.shape[1:])[:, order].reshape(array.shape)


def unchosen(arrays: Arrays) -> Arrays:
    """The tensors of a checkpoint that has no indexers."""
    kept = {k: v for k, v in published(arrays).items() if ".indexer." not in k}
    mtp = {"model.mtp_layers.0.enorm.weight": np.ones(64, np.float32)}
    old, new = ".self_attn.gate_proj.", ".self_attn.linear_gate."
    return {name.replace(old, new): array for name, array in kept.items()} | mtp


def unchosen_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of such a checkpoint."""
    kept = without("indexer_types", "index_topk", "mlp_layer_types")(config)
    n = config["num_hidden_layers"]
    more = {"first_k_dense_replace": 1, "num_nextn_predict_layers": 1}
    return {
        **kept,
        **more,
        "layer_types": ["full_attention"] * n,
        "enable_lm_head_fp32": True,
    }


HY_V4S = (
    Case(
        "hy-v4",
        "HYV4ForCausalLM",
        {**SMALL, "num_hidden_layers": 4},
        rename=published,
    ),
    Case(
        "hy-v4-all-keys",
        "HYV4ForCausalLM",
        {**SMALL, "num_hidden_layers": 2, "index_topk": 64, "norm_topk_prob": False},
        config_of=unchosen_config,
        rename=unchosen,
        is_raw=True,
    ),
    Case(
        "hy-v4-own-keys",
        "HYV4ForCausalLM",
        {**SMALL, "num_hidden_layers": 2, "n_group": 4, "topk_group": 2},
        config_of=lambda config: {
            **without("indexer_types")(config),
            "layer_types": ["deepseek_sparse_attention"] * 2,
        },
        rename=published,
        is_raw=True,
    ),
)
