"""Gemma 4's encoder of sounds, a conformer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import mapped
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .convolutions import squeezed
from .encoder import Named, Settings
from .limits import limit
from .softplus import softplus

__all__ = ["Gemma4Audio"]

TOWER = "model.audio_tower"
CONVOLUTIONS = ("a.conv1d.", "a.input_projection.")
FEED_FORWARD = {
    "pre_layer_norm": "ffn_norm",
    "ffw_layer_1": "ffn_up",
    "ffw_layer_2": "ffn_down",
    "post_layer_norm": "ffn_post_norm",
}


class Gemma4Audio(AudioEncoder):
    """Gemma 4: two convolutions, conformer layers, and two matrices."""

    projector = "gemma4a"
    audio_defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 1024,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
    }
    starts = (f"{TOWER}.", "model.embed_audio.")
    renames = ((".linear.", "."),)
    layer = re.compile(r"model\.audio_tower\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **{
            f"{TOWER}.subsample_conv_projection.layer{number}.{part}": (
                f"a.conv1d.{number}{end}"
            )
            for number in range(2)
            for part, end in (("conv", ""), ("norm", ".norm"))
        },
        f"{TOWER}.subsample_conv_projection.input_proj_linear": "a.input_projection",
        f"{TOWER}.output_proj": "a.pre_encode.out",
        "model.embed_audio.embedding_projection": "mm.a.input_projection",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **{f"feed_forward1.{part}": name for part, name in FEED_FORWARD.items()},
        **{f"feed_forward2.{part}": f"{name}_1" for part, name in FEED_FORWARD.items()},
        "norm_pre_attn": "attn_pre_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.relative_k_proj": "attn_k_rel",
        "self_attn.per_dim_scale": "per_dim_scale",
        "self_attn.post": "attn_out",
        "norm_post_attn": "attn_post_norm",
        "lconv1d.pre_layer_norm": "conv_norm",
        "lconv1d.linear_start": "conv_pw1",
        "lconv1d.depthwise_conv1d": "conv_dw",
        "lconv1d.conv_norm": "norm_conv",
        "lconv1d.linear_end": "conv_pw2",
        "norm_out": "ln2",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.audio.epsilon("layer_norm_eps", default=1e-6)
        n_bins = settings.audio.size("input_feat_size", default=128)
        return {
            MEL_BINS: uint32(n_bins),
            AUDIO_EPSILON: float32(epsilon),
        }

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward parts."""
        return 4 * self.width(settings)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor.

        Raises:
            CheckpointError: a convolution has several inputs for each channel.
        """
        if made := limit(self, source, tensor, settings):
            yield made
            return
        if source.endswith(".per_dim_scale"):
            tensor = mapped(tensor, softplus)
            source = f"{source}.weight"
        if source.endswith("depthwise_conv1d.weight"):
            tensor = squeezed(source, tensor, 1)
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F32."""
        if name.startswith(CONVOLUTIONS) or name.endswith(".conv_dw.weight"):
            return QuantType.F32
        return super().type_of(name, shape, matrices)
