"""The encoders of Nemotron Nano VL: RADIO's of images, and Parakeet's of sounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, boolean, float32, string, uint32
from .audio import Pair
from .encoder import EPSILON, N_COLORS, Encoder, Named, Settings
from .parakeet import Parakeet
from .positions import resized
from .siglip import SCALE

__all__ = ["NemotronVL"]

RADIO = "vision_model.radio_model.model"
PATCHES = f"{RADIO}.patch_generator"
VIT_H: Mapping[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
}
"""The sizes of RADIO's encoder of the size H, which config.json does not say."""


class Radio(Encoder):
    """RADIO's encoder of images of one size, and an MLP."""

    projector = "nemotron_v2_vl"
    defaults = VIT_H
    starts = (f"{RADIO}.", "mlp1.")
    skipped = ("input_conditioner", f"{PATCHES}.video_embedder")
    layer = re.compile(r"vision_model\.radio_model\.model\.blocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{PATCHES}.cls_token.token": "v.class_embd",
        f"{PATCHES}.embedder": "v.patch_embd",
        f"{PATCHES}.pos_embed": "v.position_embd.weight",
        **{f"mlp1.{number}": f"mm.model.mlp.{number}" for number in (0, 1, 3)},
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.qkv": "attn_qkv",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        ratio = settings.whole.ratio("downsample_ratio", default=0.5)
        return {
            EPSILON: float32(1e-6),
            "use_gelu": boolean(True),
            SCALE: uint32(int(1 / ratio)),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels."""
        return settings.whole.size("force_image_size", default=512)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        size = self.patch_size(settings)
        if source.startswith(f"{PATCHES}.pos_embed"):
            tensor = resized(source, tensor, self.image_size(settings) // size)
        elif source == f"{PATCHES}.embedder.weight":
            tensor = reshaped(tensor, (self.width(settings), N_COLORS, size, size))
        yield self.gguf_name(source, settings), tensor


class NemotronVL(Pair):
    """Nemotron Nano VL; some also hear."""

    hf_classes = ("NemotronH_Nano_VL_V2", "RADIOModel")
    projector = Radio.projector
    audio_key = "sound_config"
    images, sounds = Radio(), Parakeet()
    defaults = Radio.defaults
    image_defaults: ClassVar[Mapping[str, Any]] = {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }

    def parts(self, settings: Settings) -> tuple[Encoder, ...]:
        """The encoders that the model has."""
        return (self.images, self.sounds) if settings.audio.values else (self.images,)

    def first_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata before the type of the file."""
        if not settings.audio.values:
            return {"projector_type": string(self.projector)}
        return {
            **self.sounds.own_fields(settings),
            "audio.projector_type": string(self.sounds.projector),
            "vision.projector_type": string(self.projector),
        }

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.` after the type of the file."""
        return {**self.common_fields(settings), **self.images.own_fields(settings)}
