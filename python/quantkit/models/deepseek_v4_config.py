"""DeepSeek V4's config as transformers 5 writes it, with the keys of published ones."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..forward.compressed_attention import OVERLAPPING
from ..settings import OBJECT, shown
from .config import require_setting, required

__all__ = ["HASHED", "KINDS", "LONG", "ROUTED", "as_published"]

LONG = 128
"""The length of windows that do not overlap."""
KINDS = {
    0: "sliding_attention",
    OVERLAPPING: "compressed_sparse_attention",
    LONG: "heavily_compressed_attention",
}
"""What transformers calls the layers, by how many keys they compress into one."""
HASHED, ROUTED = "hash_moe", "moe"
"""What it calls their experts: chosen by the token, or by a router."""
MAIN, COMPRESSED = "main", "compress"
SHARE = "partial_rotary_factor"


def as_published(config: Config) -> dict[str, Any]:
    """The config with the keys of published ones, where it has only those of the class.

    Args:
        config: a checked config; one with the published keys is returned as it is.

    Raises:
        CheckpointError: a layer is of an unknown kind, or settings are damaged.
        UnsupportedModelError: a setting has no published key.
    """
    own = dict(config)
    if own.get("compress_ratios") is None and own.get("layer_types"):
        own["compress_ratios"] = [_ratio(kind) for kind in own["layer_types"]]
    if own.get("num_hash_layers") is None and own.get("mlp_layer_types"):
        own["num_hash_layers"] = own["mlp_layer_types"].count(HASHED)
    rope = own.get("rope_parameters") or {}
    if {MAIN, COMPRESSED} <= rope.keys():
        own |= _published_rope(own, rope[MAIN], rope[COMPRESSED])
    share = own.get(SHARE)
    if share is not None and own.get("qk_rope_head_dim") is None:
        own["qk_rope_head_dim"] = int(required(own, "head_dim") * share)
    if own.get("qk_rope_head_dim") is not None:
        size = own["qk_rope_head_dim"] / required(own, "head_dim")
        require_setting(own, SHARE, size)
        own.pop(SHARE, None)
    return own


def _ratio(kind: str) -> int:
    """How many keys a kind of layer compresses into one."""
    for ratio, name in KINDS.items():
        if name == kind:
            return ratio
    raise CheckpointError(
        f"config.json: layer_types has {shown(kind)}; expected one of "
        f"{', '.join(KINDS.values())}"
    )


def _published_rope(config: Config, main: Any, compressed: Any) -> dict[str, Any]:
    """The published keys of the rotation, of `rope_parameters` for two kinds of layers.

    Raises:
        CheckpointError: one of them is no object.
        UnsupportedModelError: layers that do not compress have a scaling, or layers
            rotate different shares of a head.
    """
    for name, given in (MAIN, main), (COMPRESSED, compressed):
        if not OBJECT.accepts(given):
            raise CheckpointError(
                f"config.json: rope_parameters.{name} is {shown(given)}; expected "
                f"{OBJECT.description}"
            )
        if config.get(SHARE) is not None:
            require_setting(given, SHARE, config[SHARE])
    require_setting(main, "rope_type", "default")
    if compressed.get("attention_factor") not in (None, 1.0):
        raise UnsupportedModelError(
            "config.json has rope_parameters.compress.attention_factor: "
            f"{shown(compressed['attention_factor'])}; for this architecture GGUF "
            "readers support only 1.0"
        )
    left_out = ("rope_theta", "attention_factor", SHARE)
    scaling = {k: v for k, v in compressed.items() if k not in left_out}
    return {
        "rope_parameters": None,
        "rope_theta": main.get("rope_theta", config.get("rope_theta")),
        "compress_rope_theta": compressed.get(
            "rope_theta", config.get("compress_rope_theta")
        ),
        "rope_scaling": None if scaling.get("rope_type") == "default" else scaling,
    }
