"""CogVLM's encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from ..gguf.keys import Field, float32, string
from .encoder import EPSILON, Encoder, Settings

__all__ = ["CogVLM"]

PROJECTOR = "model.vision.linear_proj"
PATCHES = "model.vision.patch_embedding"


class CogVLM(Encoder):
    """CogVLM: norms after each part of a layer, and an MLP with a gate."""

    hf_classes = ("CogVLMForCausalLM",)
    projector = "cogvlm"
    starts = ("model.vision.",)
    layer = re.compile(r"model\.vision\.transformer\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "model.vision.boi": "v.boi",
        "model.vision.eoi": "v.eoi",
        f"{PATCHES}.cls_embedding": "v.class_embd",
        f"{PATCHES}.proj": "v.patch_embd",
        f"{PATCHES}.position_embedding": "v.position_embd",
        f"{PROJECTOR}.linear_proj": "mm.model.fc",
        f"{PROJECTOR}.norm1": "mm.post_fc_norm",
        f"{PROJECTOR}.gate_proj": "mm.gate",
        f"{PROJECTOR}.dense_h_to_4h": "mm.up",
        f"{PROJECTOR}.dense_4h_to_h": "mm.down",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "input_layernorm": "ln1",
        "attention.query_key_value": "attn_qkv",
        "attention.dense": "attn_out",
        "post_attention_layernorm": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        epsilon = settings.vision.epsilon("layer_norm_eps", default=1e-6)
        return {
            **self.common_fields(settings),
            EPSILON: float32(epsilon),
            "projector_type": string(self.projector),
        }
