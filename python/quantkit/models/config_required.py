"""Read single settings of a config; refuse those that GGUF readers do not support."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..settings import shown

__all__ = [
    "HEADS",
    "WIDTH",
    "first",
    "head_size",
    "n_layers",
    "one_number",
    "require_setting",
    "required",
]

LAYERS = ("n_layers", "num_hidden_layers", "n_layer", "num_layers")
WIDTH = ("hidden_size", "n_embd", "dim")
HEADS = ("num_attention_heads", "n_head", "n_heads")


def first(config: Config, *keys: str) -> Any:
    """The value of the first of `keys` that is present and not null, or None."""
    return next((config[key] for key in keys if config.get(key) is not None), None)


def one_number(config: Config, key: str) -> Any:
    """The value of a key that other families have a list for; None: it is missing.

    Raises:
        CheckpointError: it is a list.
    """
    if isinstance(value := config.get(key), list):
        raise CheckpointError(
            f"config.json: {key} is {shown(value)}; expected one number for all layers"
        )
    return value


def required(config: Config, *keys: str) -> Any:
    """The value of the first of `keys` that is present and not null.

    Raises:
        CheckpointError: the config has none of them.
    """
    value = first(config, *keys)
    if value is None:
        raise CheckpointError(
            f"config.json lacks {' or '.join(map(repr, keys))}; "
            "download the model's complete config.json"
        )
    return value


def require_setting(config: Config, key: str, *allowed: Any) -> None:
    """Refuse a config with a setting that GGUF readers do not support.

    Args:
        config: may lack the key or have null.
        key: the config key.
        allowed: the supported values.

    Raises:
        UnsupportedModelError: the config has another value.
    """
    value = config.get(key)
    if value is not None and value not in allowed:
        supported = " or ".join(map(repr, allowed))
        raise UnsupportedModelError(
            f"config.json has {key}: {shown(value)}; for this architecture GGUF "
            f"readers support only {supported}"
        )


def n_layers(config: Config) -> int:
    """The number of layers."""
    return int(required(config, *LAYERS))


def head_size(config: Config) -> int:
    """`head_dim`, or the hidden size divided by the number of heads."""
    if config.get("head_dim") is not None:
        return int(config["head_dim"])
    width = required(config, *WIDTH)
    return int(width // required(config, *HEADS))
