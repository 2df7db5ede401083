"""Chameleon, whose checkpoints have a codec of images beside the decoder."""

from __future__ import annotations

import numpy as np

from .case import SIZES, Case
from .checkpoints import Arrays

__all__ = ["CHAMELEONS"]

CODEC = {
    "base_channels": 32,
    "channel_multiplier": [1],
    "embed_dim": 8,
    "latent_channels": 32,
    "num_embeddings": 8,
    "num_res_blocks": 1,
    "resolution": 8,
}
CHAMELEON = {
    **SIZES,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "vocabulary_map": {"<image>": 3},
    "vq_config": CODEC,
}


def is_of_heads(name: str) -> bool:
    """Whether a tensor is of a norm of heads."""
    return name.rpartition(".")[0].endswith(("q_norm", "k_norm"))


def with_head_norms(arrays: Arrays) -> Arrays:
    """Norms of heads near 1, which have two axes."""
    return {
        name: 1 + array / 8 if is_of_heads(name) else array
        for name, array in arrays.items()
    }


def with_heads_alike(arrays: Arrays) -> Arrays:
    """The same norm for all heads, as in the published 7B."""
    return {
        name: np.repeat(array[:1], len(array), axis=0) if is_of_heads(name) else array
        for name, array in with_head_norms(arrays).items()
    }


CHAMELEONS = (
    Case(
        "chameleon",
        "ChameleonForConditionalGeneration",
        CHAMELEON,
        prepare=with_heads_alike,
    ),
    Case(
        "chameleon-swin",
        "ChameleonForConditionalGeneration",
        {**CHAMELEON, "num_key_value_heads": 2, "swin_norm": True}
        | {"num_hidden_layers": 1},
        prepare=with_head_norms,
    ),
)
