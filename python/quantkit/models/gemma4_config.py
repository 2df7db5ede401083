"""Gemma 4's config: how layers with full attention differ from those with a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..settings import SIZE, shown
from .config import required
from .windows import layer_windows

__all__ = ["FullAttention", "full_attention_settings"]

PER_LAYER = "per_layer_config"
HEAD_SIZE, KV_HEADS = "head_dim", "num_key_value_heads"


@dataclass(frozen=True)
class FullAttention:
    """The heads of layers with full attention.

    Attributes:
        head_size: the size of a head.
        n_kv_heads: the number of key heads, if it differs from that of other layers.
    """

    head_size: int
    n_kv_heads: int | None


def full_attention_settings(config: Config) -> FullAttention:
    """The heads of layers with full attention.

    Published configs have keys for them.  Transformers 5 writes them into
    `per_layer_config` instead.

    Args:
        config: a complete config.

    Raises:
        CheckpointError: `per_layer_config` is damaged.
        UnsupportedModelError: it has settings that GGUF cannot represent.
    """
    given = config.get(PER_LAYER)
    if given is None:
        heads = config.get("num_global_key_value_heads")
        shares = config.get("attention_k_eq_v")
        return FullAttention(
            required(config, "global_head_dim"), heads if shares else None
        )
    full = {
        str(layer)
        for layer, windowed in enumerate(layer_windows(config, 6))
        if not windowed
    }
    own = [_checked(layer, settings) for layer, settings in given.items()]
    if not full or given.keys() != full or any(each != own[0] for each in own):
        raise UnsupportedModelError(
            f"config.json: {PER_LAYER} has settings for the layers "
            f"{shown(list(given))}; GGUF can only represent settings "
            "that all layers with full attention share, and no other layer has"
        )
    return FullAttention(
        own[0].get(HEAD_SIZE) or required(config, HEAD_SIZE), own[0].get(KV_HEADS)
    )


def _checked(layer: Any, settings: Any) -> Mapping[str, int]:
    """The settings of a layer, if they are of heads."""
    is_known = isinstance(settings, Mapping) and all(
        key in (HEAD_SIZE, KV_HEADS) and SIZE.accepts(value)
        for key, value in settings.items()
    )
    if not is_known:
        raise CheckpointError(
            f"config.json: {PER_LAYER} has {shown(settings)} for layer "
            f"{shown(layer)}; expected {HEAD_SIZE} and {KV_HEADS}, both integers of at "
            "least 1"
        )
    return dict(settings)
