"""The assistant of Muse Glimmer, which drafts as DFlash does."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.windows import PATTERN, WINDOW
from ..gguf.keys import Field, ValueType, array, uint32
from .config import n_layers, required, text_fields
from .dflash import mask_field
from .drafts import DRAFTS, layers_field
from .family import DECODER_LAYER, SILU, Family, Tensors

__all__ = ["MuseGlimmerAssistant"]

SLIDING = "sliding_attention"


class MuseGlimmerAssistant(Family):
    """The architecture that llama.cpp calls `dflash`; its names are transformers'."""

    name = "dflash"
    hf_classes = ("MuseGlimmerAssistantModel",)
    defaults: ClassVar = {
        "default_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "sliding_window": 2048,
        "block_size": 16,
        "mask_token_id": 201818,
        "target_layer_ids": [1, 13, 25, 37, 49],
    }
    assumed: ClassVar = {**SILU, "attention_bias": (False,)}
    drafts = True
    not_run = DRAFTS
    layer = re.compile(r"layers\.(\d+)\.(.+)")
    outer: ClassVar = {
        "encoder.fc": "fc",
        "encoder.output_norm_enc": "enc.output_norm",
        "norm": "output_norm",
    }
    inner: ClassVar = DECODER_LAYER

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the kinds of layers."""
        whole = super().complete(config)
        if not whole.get("layer_types"):
            whole["layer_types"] = [SLIDING] * n_layers(whole)
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        layers = [layer + 1 for layer in required(config, "target_layer_ids")]
        windowed = [kind == SLIDING for kind in config["layer_types"]]
        fields = {
            **text_fields(config, file_type),
            "block_size": uint32(required(config, "block_size")),
            "target_layers": layers_field(layers),
        }
        if config.get("sliding_window"):
            fields[WINDOW] = uint32(config["sliding_window"])
            fields[PATTERN] = array(ValueType.BOOL, windowed)
        return fields

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The token that stands for those to be drafted."""
        return mask_field(config.get("mask_token_id"))

    def check(self, config: Config, stored: Tensors) -> None:
        """See `Family.check`; the target has the output head."""
