"""HunyuanOCR's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..gguf.keys import Field, boolean, float32, uint32
from ..types import QuantType
from .encoder import ATTENTION, EPSILON, Encoder, Named, Settings

__all__ = ["HunyuanVL"]

CONVOLUTIONS = ("mm.0.weight", "mm.2.weight")


class HunyuanVL(Encoder):
    """HunyuanOCR: two convolutions and a matrix; tokens around images are learned."""

    hf_classes = ("HunYuanVLForConditionalGeneration",)
    projector = "hunyuanvl"
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "spatial_merge_size": 2,
    }
    starts = ("vit.",)
    layer = re.compile(r"vit\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vit.embeddings.patch_embedding": "v.patch_embd",
        "vit.embeddings.position_embedding": "v.position_embd",
        "vit.perceive.before_rms": "mm.pre_norm",
        "vit.perceive.proj.0": "mm.0",
        "vit.perceive.proj.2": "mm.2",
        "vit.perceive.mlp": "mm.model.fc",
        "vit.perceive.after_rms": "mm.post_norm",
        "vit.perceive.image_begin": "mm.image_begin",
        "vit.perceive.image_end": "mm.image_end",
        "vit.perceive.image_newline": "v.image_newline",
        "vit.perceive.image_sep": "v.view_seperator",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "input_layernorm": "ln1",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "ln2",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        return {
            "use_gelu": boolean(True),
            EPSILON: float32(vision.epsilon("rms_norm_eps")),
            "vision.spatial_merge_size": uint32(vision.size("spatial_merge_size")),
            **settings.images.pixel_bounds("min_pixels", "max_pixels"),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        usual = settings.vision.size("max_image_size", default=2048)
        return settings.vision.size("image_size", default=usual)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; the first position is left out."""
        if "position_embedding" in source:
            tensor = taken(tensor, np.arange(1, tensor.shape[0]))
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; readers convolve with nothing but F16 and F32."""
        if name in CONVOLUTIONS:
            return QuantType.F16 if matrices is QuantType.F16 else QuantType.F32
        return super().type_of(name, shape, matrices)
