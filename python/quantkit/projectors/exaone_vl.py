"""EXAONE 4.5's encoder: Qwen 2.5-VL's, with fewer keys than queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Named, Settings
from .qwen_vl import WINDOWS, Qwen2VL, window_period

__all__ = ["ExaoneVL"]

QKV_PARTS = ("attn.q", "attn.k", "attn.v")


class ExaoneVL(Qwen2VL):
    """EXAONE 4.5."""

    hf_classes = ("Exaone4_5_ForConditionalGeneration",)
    projector = "exaone4_5"
    inner: ClassVar[Mapping[str, str]] = {
        **{k: v for k, v in Qwen2VL.inner.items() if k not in QKV_PARTS},
        "attn.qkv": "attn_qkv",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has; see `Qwen2VL` for the epsilon."""
        vision = settings.vision
        fields = {
            "use_silu": boolean(True),
            **settings.images.pixel_bounds("min_pixels", "max_pixels"),
        }
        if "num_key_value_heads" in vision:
            n_heads = vision.size("num_key_value_heads")
            fields["vision.attention.head_count_kv"] = uint32(n_heads)
        fields[EPSILON] = float32(vision.epsilon("rms_norm_eps", default=1e-6))
        if "window_size" in vision:
            fields["vision.window_size"] = uint32(vision.size("window_size"))
        if vision.indexes(WINDOWS):
            fields["vision.n_wa_pattern"] = uint32(window_period(settings))
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; projections stay fused."""
        if ".attn.qkv." in source:
            yield self.gguf_name(source, settings), tensor
        else:
            yield from super().converted(source, tensor, settings)
