"""Step 3.5's config as transformers 5 writes it, with the keys of published ones."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..settings import shown
from .config import n_layers, require_setting, required
from .step_rope import FULL, SHARES, SLIDING

__all__ = ["as_published"]

EXPERTS = "n_routed_experts"
RENAMED = {
    "num_key_value_heads": "num_attention_groups",
    EXPERTS: "moe_num_experts",
    "num_experts_per_tok": "moe_top_k",
}
SPARSE = "sparse"
HEADS = "num_attention_heads"
SHARE, BASE = "partial_rotary_factor", "rope_theta"


def as_published(config: Config) -> dict[str, Any]:
    """The config with the keys of published ones, where it has only those of the class.

    Args:
        config: a checked config; one with the published keys is returned as it is.

    Raises:
        CheckpointError: settings are damaged.
        UnsupportedModelError: a setting has no published key.
    """
    own = dict(config)
    if own.get(EXPERTS) is None:
        return own
    for key, published in RENAMED.items():
        own[published] = required(own, key, published)
        own.pop(key, None)
    require_setting(own, "query_pre_attn_scalar", own.get("head_dim"))
    kinds = own.get("layer_types") or [FULL] * n_layers(own)
    routed = own.get("mlp_layer_types") or [SPARSE] * len(kinds)
    own["moe_layers_enum"] = ",".join(
        str(layer) for layer, kind in enumerate(routed) if kind == SPARSE
    )
    own["attention_other_setting"] = _windowed_heads(own, kinds)
    rope = own.get("rope_parameters") or {}
    if rope:
        own |= _published_rope(rope, kinds)
    return own


def _windowed_heads(config: Config, kinds: list[str]) -> dict[str, Any]:
    """The number of heads of layers with a window.

    Raises:
        UnsupportedModelError: `per_layer_config` says something else.
    """
    heads = config.get("num_sliding_attention_heads") or required(config, HEADS)
    expected = {
        str(layer): {HEADS: heads}
        for layer, kind in enumerate(kinds)
        if kind == SLIDING and heads != config[HEADS]
    }
    stated = config.get("per_layer_config")
    if stated is not None and stated != expected:
        raise UnsupportedModelError(
            f"config.json has per_layer_config: {shown(stated)}; for this architecture "
            "GGUF readers support only another number of heads in layers with a window"
        )
    return {
        "attention_type": SLIDING,
        HEADS: heads,
        "num_attention_groups": config["num_attention_groups"],
    }


def _published_rope(rope: Config, kinds: list[str]) -> dict[str, Any]:
    """The published keys of the rotation, of `rope_parameters` for each kind of layer.

    Raises:
        CheckpointError: a kind of layer has no parameters.
        UnsupportedModelError: a kind rotates another share of a head.
    """
    for kind in set(kinds):
        if not isinstance(rope.get(kind), dict) or rope[kind].get(BASE) is None:
            raise CheckpointError(
                f"config.json: rope_parameters has {shown(rope.get(kind))} for layers "
                f"of the kind {shown(kind)}; expected an object with {BASE}"
            )
        require_setting(rope[kind], SHARE, SHARES.get(kind))
    full = rope.get(FULL) or {}
    scaling = {k: v for k, v in full.items() if k not in (BASE, SHARE)}
    is_plain = scaling.get("rope_type", "default") == "default"
    require_setting(rope.get(SLIDING) or {}, "rope_type", "default")
    return {
        "rope_parameters": None,
        "rope_scaling": None if is_plain else scaling,
        BASE: [rope[kind][BASE] for kind in kinds],
    }
