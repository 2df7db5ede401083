"""Granite Speech's encoder of sounds, a conformer, and its projector, a Q-Former."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .batch_norm import with_folded_norms
from .convolutions import squeezed
from .encoder import Named, Settings, Tensors
from .fused import halves
from .q_former import Q_FORMER

__all__ = ["GraniteSpeech", "GraniteSpeechPlus"]

CONVOLUTIONS = (".conv_dw.weight", ".conv_pw1.weight", ".conv_pw2.weight")
FEED_FORWARD = {"pre_norm": "ffn_norm", "up_proj": "ffn_up", "down_proj": "ffn_down"}
OF_PROJECTOR = re.compile(r"projector\.qformer\.encoder\.layer\.(\d+)\.(.+)\.(\w+)")
FEATURES = "cat_hidden_layers"


class GraniteSpeech(AudioEncoder):
    """Granite Speech: conformer layers, windows of which a Q-Former sums up.

    llama.cpp's converter (build 11434) calls the norm of convolutions `conv_norm_var`;
    its readers look for `conv_norm`.
    """

    hf_classes: ClassVar[tuple[str, ...]] = ("GraniteSpeechForConditionalGeneration",)
    projector = "granite_speech"
    audio_key = "encoder_config"
    starts = ("encoder.", "projector.")
    skipped = ("attention_dists", "num_batches_tracked")
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "encoder.input_linear": "a.input_projection",
        "encoder.out": "a.enc_ctc_out",
        "encoder.out_mid": "a.enc_ctc_out_mid",
        "projector.query": "a.proj_query",
        "projector.qformer.layernorm": "a.proj_norm",
        "projector.linear": "a.proj_linear",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **{f"ff1.{part}": name for part, name in FEED_FORWARD.items()},
        **{f"ff2.{part}": f"{name}_1" for part, name in FEED_FORWARD.items()},
        "attn.pre_norm": "ln1",
        "attn.to_q": "attn_q",
        "attn.to_k": "attn_k",
        "attn.to_v": "attn_v",
        "attn.to_out": "attn_out",
        "attn.rel_pos_emb": "attn_rel_pos_emb",
        "conv.norm": "norm_conv",
        "conv.up_conv": "conv_pw1",
        "conv.depth_conv.conv": "conv_dw",
        "conv.batch_norm": "conv_norm",
        "conv.down_conv": "conv_pw2",
        "post_norm": "ln2",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        audio, whole = settings.audio, settings.whole
        n_heads = whole.inside("projector_config").size("num_attention_heads")
        return {
            MEL_BINS: uint32(audio.size("input_dim")),
            AUDIO_EPSILON: float32(1e-5),
            "audio.chunk_size": uint32(audio.size("context_size")),
            "audio.conv_kernel_size": uint32(audio.size("conv_kernel_size")),
            "audio.max_pos_emb": uint32(audio.size("max_pos_emb")),
            "audio.projector.window_size": uint32(whole.size("window_size")),
            "audio.projector.downsample_rate": uint32(whole.size("downsample_rate")),
            "audio.projector.head_count": uint32(n_heads),
        }

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward parts."""
        return self.width(settings) * settings.audio.size("feedforward_mult")

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter."""
        yield from super().tensors(settings, with_folded_norms(stored))

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; keys and values are split."""
        if source.endswith(".attn.to_kv.weight"):
            for part, half in zip("kv", halves(source, tensor), strict=True):
                name = source.replace(".to_kv.", f".to_{part}.")
                yield self.gguf_name(name, settings), half
            return
        if source.endswith(".depth_conv.conv.weight"):
            tensor = squeezed(source, tensor, 1)
        elif source.endswith(("up_conv.weight", "down_conv.weight")):
            tensor = squeezed(source, tensor, 2)
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        if match := OF_PROJECTOR.fullmatch(source):
            number, part, kind = match.groups()
            if part in Q_FORMER and int(number) < _n_projector_layers(settings):
                return f"a.proj_blk.{number}.{Q_FORMER[part]}.{kind}"
        name = super().gguf_name(source, settings)
        is_position = source.endswith(".rel_pos_emb.weight")
        return name.removesuffix(".weight") if is_position else name

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F32."""
        if name.endswith(CONVOLUTIONS):
            return QuantType.F32
        return super().type_of(name, shape, matrices)

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the tensors that a model must have, with the Q-Former's."""
        return [
            *super().needed(settings),
            *(
                f"a.proj_blk.{number}.{part}"
                for number in range(_n_projector_layers(settings))
                for part in Q_FORMER.values()
            ),
        ]


class GraniteSpeechPlus(GraniteSpeech):
    """Granite Speech Plus, whose projector also reads the outputs of some layers."""

    hf_classes = ("GraniteSpeechPlusForConditionalGeneration",)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has.

        Raises:
            CheckpointError: the projector is not as wide as these layers together.
        """
        fields = super().own_fields(settings)
        layers = settings.audio.indexes(FEATURES)
        if not layers:
            return fields
        width = self.width(settings) * (len(layers) + 1)
        stated = settings.whole.inside("projector_config").size("encoder_hidden_size")
        if stated != width or max(layers) > self.n_layers(settings):
            raise CheckpointError(
                f"config.json: encoder_config.{FEATURES} is {layers}; the encoder has "
                f"{self.n_layers(settings)} layers of {self.width(settings)} columns; "
                f"projector_config.encoder_hidden_size is {stated}, not {width}"
            )
        return {**fields, "audio.feature_layer": array(ValueType.INT32, layers)}


def _n_projector_layers(settings: Settings) -> int:
    """The number of layers of the Q-Former."""
    return settings.whole.inside("projector_config").layers("num_hidden_layers")
