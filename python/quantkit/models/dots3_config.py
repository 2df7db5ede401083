"""dots 3 note's config as transformers 5 writes it, with the keys of published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..settings import SIZE, checked, shown
from .config import require_setting, required
from .dense_layers import n_dense_layers

__all__ = ["FULL", "SLIDING", "as_published"]

FULL, SLIDING, INDEXED = "full_attention", "sliding_attention", "indexed_attention"
PER_LAYER, ROPE = "per_layer_config", "rope_parameters"
KEYS = (
    *("num_attention_heads", "num_key_value_heads", "kv_lora_rank", "head_dim"),
    *("qk_nope_head_dim", "v_head_dim"),
)
"""What layers with a window have of their own."""


def as_published(config: Config) -> dict[str, Any]:
    """The config with the keys of published ones, where it has only those of the class.

    Args:
        config: a checked config; one with the published keys is returned as it is.

    Raises:
        CheckpointError: settings are missing or damaged.
        UnsupportedModelError: layers with a window differ from each other.
    """
    kinds = config.get("layer_types") or ()
    if INDEXED not in kinds:
        return dict(config)
    own = {k: v for k, v in config.items() if k not in (PER_LAYER, ROPE)}
    windowed = _windowed(config, [i for i, kind in enumerate(kinds) if kind == SLIDING])
    sizes = {f"swa_{key}": windowed.get(key, config.get(key)) for key in KEYS}
    n_turned = required(sizes, "swa_head_dim") - required(sizes, "swa_qk_nope_head_dim")
    require_setting(
        own, "shared_experts_intermediate_size", required(own, "moe_intermediate_size")
    )
    bases = {kind: _base(config, kind) for kind in (INDEXED, SLIDING)}
    return {
        **own,
        **sizes,
        "swa_qk_rope_head_dim": n_turned,
        "swa_q_lora_rank": required(own, "q_lora_rank"),
        "swa_rope_theta": bases[SLIDING],
        "rope_theta": bases[INDEXED],
        "layer_types": [FULL if kind == INDEXED else kind for kind in kinds],
        "first_k_dense_replace": n_dense_layers(config, 1),
        "sliding_window_size": required(own, "sliding_window"),
        "apply_mla_qkv_lora_rescale": True,
        "scoring_func": "sigmoid",
    }


def _windowed(config: Config, layers: list[int]) -> Mapping[str, int]:
    """The settings that layers with a window have of their own.

    Raises:
        CheckpointError: they are damaged.
        UnsupportedModelError: the layers differ.
    """
    stated: Mapping[str, Any] = config.get(PER_LAYER) or {}
    own = [stated.get(str(layer)) for layer in layers]
    if set(stated) != set(map(str, layers)) or any(each != own[0] for each in own):
        raise UnsupportedModelError(
            f"config.json: {PER_LAYER} has settings for the layers "
            f"{shown(list(stated))}; GGUF can only represent settings "
            "that all layers with a window share, and no other layer has"
        )
    settings = own[0] if own else {}
    where = f"config.json: {PER_LAYER}.{layers[0] if layers else ''}"
    if not isinstance(settings, Mapping) or set(settings) - set(KEYS):
        raise CheckpointError(
            f"{where} is {shown(settings)}; expected an object with {', '.join(KEYS)}"
        )
    return {
        key: checked(value, SIZE, f"{where}.{key}") for key, value in settings.items()
    }


def _base(config: Config, kind: str) -> Any:
    """The base of the rotation of a kind of layers; None: the class's."""
    rope = config.get(ROPE) or {}
    parameters = rope.get(kind) or {}
    if not isinstance(parameters, Mapping):
        raise CheckpointError(
            f"config.json: {ROPE}.{kind} is {shown(parameters)}; expected an object"
        )
    require_setting(parameters, "rope_type", "default")
    return parameters.get("rope_theta")
