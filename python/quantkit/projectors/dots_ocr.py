"""dots.ocr's encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Settings
from .siglip import SCALE

__all__ = ["DotsOCR"]

PATCHES = "vision_tower.patch_embed.patchifier"


class DotsOCR(Encoder):
    """dots.ocr: images of any shape, and an MLP."""

    hf_classes = ("DotsOCRForCausalLM",)
    projector = "dots_ocr"
    starts = ("vision_tower.",)
    layer = re.compile(r"vision_tower\.blocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{PATCHES}.proj": "v.patch_embd",
        f"{PATCHES}.norm": "v.pre_ln",
        "vision_tower.post_trunk_norm": "mm.post_norm",
        "vision_tower.merger.ln_q": "mm.input_norm",
        "vision_tower.merger.mlp.0": "mm.0",
        "vision_tower.merger.mlp.2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.qkv": "attn_qkv",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.fc1": "ffn_gate",
        "mlp.fc3": "ffn_up",
        "mlp.fc2": "ffn_down",
    }
    optional = ("mm.post_norm",)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        return {
            **settings.images.pixel_bounds("min_pixels", "max_pixels"),
            EPSILON: float32(vision.epsilon("rms_norm_eps")),
            SCALE: uint32(vision.size("spatial_merge_size")),
            "use_silu": boolean(True),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels differs."""
        return 0
