"""The encoder of DeepSeek V4 models that see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, N_COLORS, Encoder, Named, Settings
from .fused import halves
from .section import Section
from .siglip import SCALE

__all__ = ["DeepseekVision"]

N_LAYERS = "vision_n_layers"
FIXED = {"vision_max_n_token": 384, "vision_max_wh_ratio": 8}
"""Settings whose values readers know."""
TOKENS = {
    "image_start": "v.token_embd.img_start",
    "image_end": "v.token_embd.img_end",
    "image_pad": "v.token_embd.img_pad",
    "image_newline": "v.image_newline",
}


class DeepseekVision(Encoder):
    """DeepSeek V4: images of any shape, and two matrices."""

    hf_classes = ("DeepseekV4ForCausalLM",)
    projector = "deepseek4v"
    vision_key = N_LAYERS
    image_defaults: ClassVar[Mapping[str, Any]] = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    starts = ("vision.", "aligner.", "image_")
    layer = re.compile(r"vision\.blocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision.patch_embed.proj": "v.patch_embd",
        "vision.norm": "v.post_ln",
        "aligner.w1": "mm.1",
        "aligner.w2": "mm.2",
        **TOKENS,
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.wqkv": "attn_qkv",
        "attn.wo": "attn_out",
        "norm2": "ln2",
        "mlp.w1_gate": "ffn_gate",
        "mlp.w1_up": "ffn_up",
        "mlp.w2": "ffn_down",
    }

    def sections(
        self, folder: Path, config: Mapping[str, Any]
    ) -> tuple[Section, Section]:
        """The settings of its images, which are beside those of the text model."""
        own = config if config.get(N_LAYERS) else {}
        return Section("config.json", own), Section("config.json", {})

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """
        for key, value in FIXED.items():
            settings.vision.only(key, value)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has; the epsilon is torch's usual one."""
        vision = settings.vision
        return {
            EPSILON: float32(1e-6),
            "use_silu": boolean(True),
            SCALE: uint32(vision.size("vision_downsample_ratio")),
            "vision.image_min_pixels": uint32(vision.pixels("vision_min_pixels")),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        ratio = settings.vision.size("vision_downsample_ratio")
        return self.patch_size(settings) * ratio * 16

    def patch_size(self, settings: Settings) -> int:
        """The width of a patch in pixels."""
        return settings.vision.size("vision_patch_size")

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return settings.vision.size("vision_dim")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("vision_n_heads")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return settings.vision.layers(N_LAYERS)

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part."""
        return settings.vision.size("vision_inter_dim")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; gates and ups are split."""
        if source == "vision.patch_embed.proj.weight":
            size = self.patch_size(settings)
            tensor = reshaped(tensor, (tensor.shape[0], N_COLORS, size, size))
        if ".mlp.w1." not in source:
            yield self.gguf_name(source, settings), tensor
            return
        for part, half in zip(("gate", "up"), halves(source, tensor), strict=True):
            name = source.replace(".w1.", f".w1_{part}.")
            yield self.gguf_name(name, settings), half
