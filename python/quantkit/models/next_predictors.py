"""Layers that only predict further tokens (multi-token prediction, MTP or NextN).

They follow the last layer of a model, for readers that draft tokens ahead.  GGUF files
count them in `block_count`, and tell their number in `nextn_predict_layers`.
"""

from __future__ import annotations

from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import n_layers

__all__ = ["PREDICTOR", "n_blocks", "n_predictors", "predictor_fields"]

COUNT = "num_nextn_predict_layers"

PREDICTOR = {
    "eh_proj": "nextn.eh_proj",
    "embed_tokens": "nextn.embed_tokens",
    "enorm": "nextn.enorm",
    "hnorm": "nextn.hnorm",
    "shared_head.head": "nextn.shared_head_head",
    "shared_head.norm": "nextn.shared_head_norm",
}
"""Checkpoint module -> GGUF name, of what such a layer has beside a usual one."""


def n_predictors(config: Config) -> int:
    """The number of these layers."""
    return int(config.get(COUNT) or 0)


def n_blocks(config: Config) -> int:
    """The number of layers, with these."""
    return n_layers(config) + n_predictors(config)


def predictor_fields(config: Config) -> dict[str, Field]:
    """Their number, if the config tells it; it may be 0."""
    if config.get(COUNT) is None:
        return {}
    return {"nextn_predict_layers": uint32(n_predictors(config))}
