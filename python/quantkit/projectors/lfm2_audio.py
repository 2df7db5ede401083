"""LFM2-Audio's encoder of sounds, a conformer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .batch_norm import with_folded_norms
from .convolutions import squeezed
from .encoder import Named, Settings, Tensors

__all__ = ["Lfm2Audio"]

PRE = "conformer.pre_encode"
CONVOLUTIONS = ("a.conv1d.", ".conv_dw.", ".conv_pw1.", ".conv_pw2.", ".conv_norm.")
FEED_FORWARD = {
    number: {
        f"norm_feed_forward{number}": f"ffn_norm{end}",
        f"feed_forward{number}.linear1": f"ffn_up{end}",
        f"feed_forward{number}.linear2": f"ffn_down{end}",
    }
    for number, end in ((1, ""), (2, "_1"))
}


class Lfm2Audio(AudioEncoder):
    """LFM2-Audio: convolutions, conformer layers and an MLP; speech is left out."""

    hf_classes = ("Lfm2AudioForConditionalGeneration",)
    projector = "lfm2a"
    audio_key = "encoder"
    starts = ("conformer.", "audio_adapter.", "audio_embedding.")
    layer = re.compile(r"conformer\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **{f"{PRE}.conv.{number}": f"a.conv1d.{number}" for number in (0, 2, 3, 5, 6)},
        f"{PRE}.out": "a.pre_encode.out",
        **{
            f"audio_adapter.model.{number}": f"mm.a.mlp.{number}"
            for number in (0, 1, 3)
        },
        "audio_embedding.embedding": "a.position_embd",
        "audio_embedding.embedding_norm": "a.position_embd_norm",
        "audio_embedding.to_logits": "a.embd_to_logits",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **FEED_FORWARD[1],
        **FEED_FORWARD[2],
        "norm_self_att": "ln1",
        **{
            f"self_attn.linear_{part}": f"attn_{part}"
            for part in ("q", "k", "v", "out")
        },
        "self_attn.linear_pos": "linear_pos",
        "self_attn.pos_bias_u": "pos_bias_u",
        "self_attn.pos_bias_v": "pos_bias_v",
        "norm_conv": "norm_conv",
        "conv.pointwise_conv1": "conv_pw1",
        "conv.depthwise_conv": "conv_dw",
        "conv.batch_norm": "conv_norm",
        "conv.pointwise_conv2": "conv_pw2",
        "norm_out": "ln2",
    }
    optional = ("a.position_embd", "a.position_embd_norm", "a.embd_to_logits")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            MEL_BINS: uint32(settings.audio.size("feat_in")),
            AUDIO_EPSILON: float32(1e-5),
        }

    def inner_size(self, settings: Settings) -> int:
        """What llama.cpp's converter writes; readers do not use it."""
        return self.width(settings)

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward parts, as the tensors have it."""
        factor = settings.audio.size("ff_expansion_factor", default=4)
        return self.width(settings) * factor

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter."""
        yield from super().tensors(settings, with_folded_norms(stored))

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.startswith(f"{PRE}.conv.") and source.endswith(".bias"):
            tensor = reshaped(tensor, (*tensor.shape, 1, 1))
        elif source.endswith(".conv.depthwise_conv.weight"):
            tensor = squeezed(source, tensor, 1)
        elif ".conv.pointwise_conv" in source and source.endswith(".weight"):
            tensor = squeezed(source, tensor, 2)
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor; biases of positions have no module."""
        if source.endswith((".pos_bias_u", ".pos_bias_v")):
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
