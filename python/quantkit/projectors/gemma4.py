"""Gemma 4's encoders of images, and of sounds in the smaller models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, float32
from .audio import Pair
from .encoder import ATTENTION, EPSILON, Encoder, Named, Settings
from .gemma4_audio import Gemma4Audio
from .limits import limit
from .patches import by_colors

__all__ = ["Gemma4"]

NO_SIZE = 224
"""What llama.cpp's converter writes as the width of images, which may differ."""


class Gemma4Vision(Encoder):
    """Gemma 4: images of any shape, and one matrix."""

    projector = "gemma4v"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 16,
        "num_attention_heads": 12,
        "patch_size": 16,
    }
    starts = ("model.vision_tower.", "model.embed_vision.")
    layer = re.compile(r"model\.vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "model.vision_tower.patch_embedder.input_proj": "v.patch_embd",
        "model.vision_tower.patch_embedder.position_embedding_table": (
            "v.position_embd.weight"
        ),
        "model.vision_tower.std_bias": "v.std_bias",
        "model.vision_tower.std_scale": "v.std_scale",
        "model.embed_vision.embedding_projection": "mm.input_projection",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "input_layernorm": "ln1",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "attn_post_norm",
        "pre_feedforward_layernorm": "ln2",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "post_feedforward_layernorm": "ffn_post_norm",
    }
    renames = ((".linear.weight", ".weight"),)
    optional = ("v.std_bias", "v.std_scale")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.vision.epsilon("layer_norm_eps", default=1e-6)
        return {EPSILON: float32(epsilon)}

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        return NO_SIZE

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; colors of patches come first."""
        if made := limit(self, source, tensor, settings):
            yield made
            return
        if source.endswith("patch_embedder.input_proj.weight"):
            tensor = by_colors(tensor, settings.vision.size("patch_size"))
        yield self.gguf_name(source, settings), tensor


class Gemma4(Pair):
    """Gemma 4; its larger models do not hear."""

    hf_classes = ("Gemma4ForConditionalGeneration",)
    projector = Gemma4Vision.projector
    images, sounds = Gemma4Vision(), Gemma4Audio()
    defaults = Gemma4Vision.defaults
    audio_defaults = Gemma4Audio.audio_defaults

    def parts(self, settings: Settings) -> tuple[Encoder, ...]:
        """The encoders that the model has."""
        return (self.images, self.sounds) if settings.audio.values else (self.images,)
