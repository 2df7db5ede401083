"""Parakeet's encoder of sounds, a conformer, in Nemotron Nano VL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .convolutions import squeezed
from .encoder import Named, Settings

__all__ = ["Parakeet"]

SOUND = "sound_encoder.encoder"
CONVOLUTIONS = ("a.conv1d.", ".conv_dw.", ".conv_pw1.", ".conv_pw2.")
OF_CHANNELS = (".pointwise_conv", ".subsampling.layers.")
BARE = {
    "self_attn.bias_u": "pos_bias_u",
    "self_attn.bias_v": "pos_bias_v",
    "conv.norm.running_mean": "conv_norm_mean",
    "conv.norm.running_var": "conv_norm_var",
}
"""Tensor inside a layer -> whole GGUF name."""


class Parakeet(AudioEncoder):
    """Convolutions, conformer layers, and an MLP."""

    projector = "parakeet"
    starts = ("sound_encoder.", "sound_projection.")
    skipped = ("num_batches_tracked",)
    layer = re.compile(r"sound_encoder\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **{f"{SOUND}.subsampling.layers.{i}": f"a.conv1d.{i}" for i in (0, 2, 3, 5, 6)},
        f"{SOUND}.subsampling.linear": "a.pre_encode.out",
        f"{SOUND}.feature_extractor.featurizer.fb": "a.mel_filters",
        f"{SOUND}.feature_extractor.featurizer.window": "a.window",
        "sound_projection.norm": "mm.a.norm_pre",
        "sound_projection.linear1": "mm.a.mlp.1",
        "sound_projection.linear2": "mm.a.mlp.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm_feed_forward1": "ffn_norm",
        "feed_forward1.linear1": "ffn_up",
        "feed_forward1.linear2": "ffn_down",
        "norm_self_att": "ln1",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_out",
        "self_attn.relative_k_proj": "linear_pos",
        "norm_conv": "norm_conv",
        "conv.pointwise_conv1": "conv_pw1",
        "conv.depthwise_conv": "conv_dw",
        "conv.norm": "conv_norm",
        "conv.pointwise_conv2": "conv_pw2",
        "norm_feed_forward2": "ffn_norm_1",
        "feed_forward2.linear1": "ffn_up_1",
        "feed_forward2.linear2": "ffn_down_1",
        "norm_out": "ln2",
        **BARE,
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        audio = settings.audio
        return {
            MEL_BINS: uint32(audio.size("num_mel_bins")),
            AUDIO_EPSILON: float32(1e-5),
            "audio.subsampling_factor": uint32(audio.size("subsampling_factor")),
            "audio.conv_kernel_size": uint32(audio.size("conv_kernel_size")),
        }

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; channels have axes of their own."""
        if source.endswith("depthwise_conv.weight"):
            matrix = squeezed(source, tensor, 1)
            tensor = reshaped(matrix, (1, 1, *matrix.shape))
        elif ".pointwise_conv" in source and source.endswith(".weight"):
            tensor = squeezed(source, tensor, 2)
        elif source.endswith(".bias") and any(part in source for part in OF_CHANNELS):
            tensor = reshaped(tensor, (1, tensor.shape[0], 1, 1))
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        if source.endswith(tuple(BARE)):
            name = super().gguf_name(f"{source}.bias", settings)
            return name.removesuffix(".bias")
        return super().gguf_name(source, settings)

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F32."""
        if any(part in name for part in CONVOLUTIONS):
            return QuantType.F32
        return super().type_of(name, shape, matrices)
