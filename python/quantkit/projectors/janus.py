"""Janus Pro's encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..gguf.keys import Field, float32
from .encoder import EPSILON, Encoder, Settings
from .siglip import LAYER, outer_names

__all__ = ["Janus"]

TOWER, ALIGNER = "model.vision_model", "model.aligner"


class Janus(Encoder):
    """Janus Pro: SigLIP, and an MLP whose depth differs."""

    hf_classes = ("JanusForConditionalGeneration",)
    projector = "janus_pro"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "mlp_ratio": 4.0,
    }
    starts = (f"{TOWER}.", f"{ALIGNER}.")
    renames = ((f"{ALIGNER}.hidden_layers.", f"{ALIGNER}."),)
    layer = re.compile(r"model\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names(TOWER),
        f"{ALIGNER}.fc1": "mm.0",
        **{f"{ALIGNER}.{number}": f"mm.{number + 1}" for number in range(8)},
    }
    inner: ClassVar[Mapping[str, str]] = {
        **{k: v for k, v in LAYER.items() if v != "attn_out"},
        "self_attn.projection_layer": "attn_out",
    }
    optional = tuple(f"mm.{number}" for number in range(2, 9))

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            **settings.vision.activation("gelu", "silu"),
        }

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the metadata says it."""
        usual = self.n_inner_rows(settings)
        return settings.vision.size("intermediate_size", default=usual)

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        ratio = settings.vision.factor("mlp_ratio")
        return round(self.width(settings) * ratio)
