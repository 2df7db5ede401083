"""Check the values of config.json before anything is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from ..settings import OBJECT, Kind, shown
from .config_keys import INSIDE, KINDS, ROPE_KINDS

__all__ = ["check_sizes", "checked_config"]

WIDTHS = (
    *("hidden_size", "n_embd", "n_embed", "d_model", "head_dim", "kv_channels"),
    *("global_head_dim", "hidden_size_per_layer_input"),
    *("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    "index_head_dim",
)
"""Keys whose value is at most the longest axis of a tensor."""
BY_LAYER_TYPE = ("full_attention", "sliding_attention")


def checked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config whose known keys have values of the right types and ranges.

    Keys that quantkit does not read are kept as they are.  A whole number may be
    written as 8192.0.

    Args:
        config: a Hugging Face config, with the keys of a nested `text_config` at the
            top level.

    Raises:
        CheckpointError: a value is of another type or out of range.
    """
    return _checked_keys(config, KINDS, "")


def _checked_keys(
    config: Mapping[str, Any], kinds: Mapping[str, Kind], inside: str
) -> dict[str, Any]:
    settled: dict[str, Any] = {}
    for key, value in config.items():
        where = f"{inside}.{key}" if inside else key
        if inside.startswith("rope_") and key in BY_LAYER_TYPE:
            value = _checked_value(value, OBJECT, where)
            settled[key] = value and _checked_keys(value, ROPE_KINDS, where)
            continue
        kind = kinds.get(key)
        settled[key] = value if kind is None else _checked_value(value, kind, where)
        if not inside and key in INSIDE and value is not None:
            settled[key] = _checked_keys(value, INSIDE[key], key)
    return settled


def _checked_value(value: Any, kind: Kind, where: str) -> Any:
    """The value as `kind` accepts it; null is always accepted."""
    whole = _whole(value)
    for candidate in (value, whole):
        if candidate is None or kind.accepts(candidate):
            return candidate
    raise CheckpointError(
        f"config.json: {where} is {shown(value)}; expected {kind.description}; "
        "download the model's config.json again"
    )


def _whole(value: Any) -> Any:
    """The value, with integers instead of floats like 8192.0."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_sizes(config: Mapping[str, Any], longest: int) -> None:
    """Refuse sizes that no tensor has, before arrays of that size are made.

    Args:
        config: as `checked_config` returns it.
        longest: the longest axis of the checkpoint's tensors.

    Raises:
        CheckpointError: a size is larger.
    """
    for key in WIDTHS:
        if (config.get(key) or 0) > longest:
            raise CheckpointError(
                f"config.json: {key} is {config[key]}, but no axis of the checkpoint's "
                f"tensors is longer than {longest}; config.json does not belong to "
                "these weights"
            )
