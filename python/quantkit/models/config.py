"""Hugging Face configs as GGUF metadata: the keys that nearly all decoders share.

Sources: the config classes of transformers, whose defaults stand in for absent keys,
and the key names of the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, float32, uint32
from .base import Config
from .rotary import rotary_fields

__all__ = ["decoder_fields", "required"]


def required(config: Config, key: str) -> Any:
    """The value of `key`.

    Raises:
        CheckpointError: the config lacks it.
    """
    if config.get(key) is None:
        raise CheckpointError(
            f"config.json lacks {key!r}; get the complete file of the model"
        )
    return config[key]


def decoder_fields(
    name: str, config: Config, head_size: int | None
) -> dict[str, Field]:
    """The `<name>.*` metadata of a decoder, in the order llama.cpp writes it.

    Args:
        name: `general.architecture`.
        config: the checkpoint's config.
        head_size: width of an attention head, if the config class has one to tell.

    Raises:
        CheckpointError: the config lacks a key.
        UnsupportedModelError: an activation function other than SiLU.
    """
    if (activation := config.get("hidden_act", "silu")) not in ("silu", "swish"):
        raise UnsupportedModelError(
            f"config.json says hidden_act {activation!r}; quantkit's {name} has silu"
        )
    n_heads = required(config, "num_attention_heads")
    n_kv_heads = config.get("num_key_value_heads") or n_heads
    fields = {
        "block_count": uint32(required(config, "num_hidden_layers")),
        "context_length": uint32(required(config, "max_position_embeddings")),
        "embedding_length": uint32(required(config, "hidden_size")),
        "feed_forward_length": uint32(required(config, "intermediate_size")),
        "attention.head_count": uint32(n_heads),
        "attention.head_count_kv": uint32(n_kv_heads),
        **rotary_fields(config),
        "attention.layer_norm_rms_epsilon": float32(config.get("rms_norm_eps", 1e-6)),
    }
    if head_size is not None:
        fields["attention.key_length"] = uint32(head_size)
        fields["attention.value_length"] = uint32(head_size)
    return {f"{name}.{key}": field for key, field in fields.items()}
