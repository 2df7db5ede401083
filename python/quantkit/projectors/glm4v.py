"""GLM's encoders: GLM 4.1V, 4.5V and GLM-OCR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, float32, uint32
from .encoder import EPSILON, Named, Settings
from .qwen_vl import TwoFrames

__all__ = ["Glm4V", "Glm5Next"]


class Glm4V(TwoFrames):
    """GLM 4.1V and 4.5V; GLM-OCR, which also normalizes queries and keys."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "Glm4vForConditionalGeneration",
        "Glm4vMoeForConditionalGeneration",
        "GlmOcrForConditionalGeneration",
    )
    projector = "glm4v"
    narrow: ClassVar[tuple[str, ...]] = ("GlmOcrForConditionalGeneration",)
    """Classes whose feed-forward parts have the width that the config says."""
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_act": "silu",
        "num_position_embeddings": 2304,
    }
    outer: ClassVar[Mapping[str, str]] = {
        "visual.patch_embed.proj": "v.patch_embd",
        "visual.post_conv_layernorm": "v.norm_embd",
        "visual.embeddings.position_embedding": "v.position_embd",
        "visual.post_layernorm": "v.post_ln",
        "visual.downsample": "mm.patch_merger",
        "visual.merger.proj": "mm.model.fc",
        "visual.merger.post_projection_norm": "mm.post_norm",
        "visual.merger.gate_proj": "mm.gate",
        "visual.merger.up_proj": "mm.up",
        "visual.merger.down_proj": "mm.down",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.qkv": "attn_qkv",
        "attn.q_norm": "attn_q_norm",
        "attn.k_norm": "attn_k_norm",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    optional = ("v.norm_embd", "v.position_embd", "attn_q_norm", "attn_k_norm")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.vision.epsilon("rms_norm_eps", default=1e-5)
        return {
            **settings.vision.activation("silu", "gelu"),
            EPSILON: float32(epsilon),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        n_positions = settings.vision.size("num_position_embeddings")
        usual = int(n_positions**0.5 * settings.vision.size("patch_size", default=16))
        return settings.vision.size("image_size", default=usual)

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        if set(self.narrow) & set(settings.classes):
            return self.inner_size(settings)
        return settings.vision.size("out_hidden_size")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source == "visual.patch_embed.proj.weight":
            yield from self.frames(tensor)
        else:
            yield self.gguf_name(source, settings), tensor


class Glm5Next(Glm4V):
    """GLM 5.3 Flash: clamped feed-forward parts, and a number of tokens for images."""

    hf_classes = ("Glm5NextForConditionalGeneration",)
    projector = "glm5v"
    narrow = hf_classes

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision, images = settings.vision, settings.images
        merge = vision.size("spatial_merge_size", default=2)
        fields = super().own_fields(settings)
        fields["vision.spatial_merge_size"] = uint32(merge)
        if "swiglu_limit" in vision:
            fields["vision.swiglu_clamp"] = float32(vision.factor("swiglu_limit"))
        side = images.size("patch_size", default=14)
        side *= images.size("merge_size", default=2)
        for most in ("min", "max"):
            if f"{most}_image_tokens" in images:
                n_pixels = images.size(f"{most}_image_tokens") * side**2
                fields[f"vision.image_{most}_pixels"] = uint32(n_pixels)
        return fields
