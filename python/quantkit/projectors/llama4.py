"""Llama 4's encoder.

llama.cpp's converter of build 11434 gives the norm before the feed-forward part the
name of one after attention, where its reader then applies it; here it has its own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import ATTENTION, EPSILON, Encoder, Settings

__all__ = ["Llama4"]


class Llama4(Encoder):
    """Llama 4: pixels are shuffled into channels, then an MLP and a matrix."""

    hf_classes = ("Llama4ForConditionalGeneration",)
    projector = "llama4"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 768,
        "intermediate_size": 5632,
        "num_hidden_layers": 34,
        "num_attention_heads": 16,
        "image_size": 448,
        "patch_size": 14,
        "norm_eps": 1e-5,
        "pixel_shuffle_ratio": 0.5,
        "hidden_act": "gelu",
    }
    starts = ("vision_model.", "multi_modal_projector.")
    layer = re.compile(r"vision_model\.model\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision_model.class_embedding": "v.class_embd",
        "vision_model.patch_embedding.linear": "v.patch_embd",
        "vision_model.positional_embedding_vlm": "v.position_embd.weight",
        "vision_model.layernorm_pre": "v.pre_ln",
        "vision_model.layernorm_post": "v.post_ln",
        "vision_model.vision_adapter.mlp.fc1": "mm.model.mlp.1",
        "vision_model.vision_adapter.mlp.fc2": "mm.model.mlp.2",
        "multi_modal_projector.linear_1": "mm.model.fc",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "input_layernorm": "ln1",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        vision.only("hidden_act", "gelu")
        scale = int(1 / vision.ratio("pixel_shuffle_ratio"))
        return {
            EPSILON: float32(vision.epsilon("norm_eps")),
            "vision.projector.scale_factor": uint32(scale),
            "use_gelu": boolean(True),
        }
