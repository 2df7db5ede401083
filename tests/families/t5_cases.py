"""Cases of T5 and its relatives; of models with a decoder, nothing is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, without
from .checkpoints import Arrays

__all__ = ["T5S"]

SIZES = {
    "d_model": 64,
    "d_kv": 24,
    "d_ff": 96,
    "num_layers": 3,
    "num_heads": 4,
    "vocab_size": 112,
    "relative_attention_num_buckets": 12,
    "layer_norm_epsilon": 1e-5,
    "decoder_start_token_id": 0,
}


def with_copies(arrays: Arrays) -> Arrays:
    """Copies of the embedding, as older versions of transformers stored them.

    And a bias that no version of the class reads.
    """
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    return {
        "decoder.embed_tokens.weight": arrays["shared.weight"].copy(),
        "encoder.embed_tokens.weight": arrays["shared.weight"].copy(),
        **arrays,
        unread: np.ones((12, 4), np.float32),
    }


def of_class(name: str) -> Any:
    """The config with another class."""
    return lambda config: {**config, "architectures": [name]}


T5S = (
    Case(
        "t5",
        "T5ForConditionalGeneration",
        {**SIZES, "num_decoder_layers": 2, "n_positions": 80},
        rename=with_copies,
        runs=False,
    ),
    Case(
        "mt5",
        "MT5ForConditionalGeneration",
        {**SIZES, "num_decoder_layers": 1, "num_heads": 6},
        config_of=without("num_heads", "feed_forward_proj"),
        runs=False,
    ),
    Case(
        "umt5",
        "UMT5Model",
        {**SIZES, "num_layers": 2},
        config_of=without("num_decoder_layers", "decoder_start_token_id"),
        runs=False,
    ),
    Case(
        "t5-encoder",
        "T5EncoderModel",
        {**SIZES, "d_model": 32},
        rename=lambda arrays: {
            "encoder.embed_tokens.weight": arrays["shared.weight"].copy(),
            **arrays,
        },
        predicts_text=False,
        n_tokens=140,
    ),
    Case(
        "t5-encoder-gated",
        "T5EncoderModel",
        {**SIZES, "feed_forward_proj": "gated-gelu", "num_heads": 3},
        predicts_text=False,
        n_tokens=20,
    ),
)
