"""Encoders like Whisper's: Qwen2-Audio, Ultravox, Voxtral, Audio Flamingo 3, Omni."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .encoder import ATTENTION, Named, Settings

__all__ = ["AudioFlamingo3", "Qwen2Audio", "Ultravox", "Voxtral", "Whisper"]

STACK = "audio.projector.stack_factor"
PROJECTOR = "multi_modal_projector"


class Whisper(AudioEncoder):
    """What these encoders share: two convolutions, layers, and a projector.

    Attributes:
        convolutions: the type of the convolutions' weights.
    """

    audio_defaults: ClassVar[Mapping[str, Any]] = {
        "d_model": 1280,
        "encoder_ffn_dim": 5120,
        "encoder_layers": 32,
        "encoder_attention_heads": 20,
        "num_mel_bins": 128,
    }
    starts: ClassVar[tuple[str, ...]] = ("audio_tower.", f"{PROJECTOR}.")
    layer = re.compile(r"audio_tower\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "audio_tower.conv1": "a.conv1d.1",
        "audio_tower.conv2": "a.conv1d.2",
        "audio_tower.embed_positions": "a.position_embd",
        "audio_tower.layer_norm": "a.post_ln",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "self_attn_layer_norm": "ln1",
        "self_attn.out_proj": "attn_out",
        "final_layer_norm": "ln2",
        "fc1": "ffn_up",
        "fc2": "ffn_down",
    }
    convolutions: ClassVar[QuantType] = QuantType.F16

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.audio.epsilon("layer_norm_eps", default=1e-5)
        return {
            MEL_BINS: uint32(settings.audio.size("num_mel_bins")),
            AUDIO_EPSILON: float32(epsilon),
        }

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; readers add biases to columns."""
        if source.endswith(("conv1.bias", "conv2.bias")):
            tensor = reshaped(tensor, (*tensor.shape, 1))
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor, if matrices get the type `matrices`."""
        if name.startswith("a.conv1d.") and name.endswith(".weight"):
            return self.convolutions
        return super().type_of(name, shape, matrices)


class Qwen2Audio(Whisper):
    """Qwen2-Audio: one matrix projects."""

    hf_classes = ("Qwen2AudioForConditionalGeneration",)
    projector = "qwen2a"
    outer: ClassVar[Mapping[str, str]] = {
        **Whisper.outer,
        f"{PROJECTOR}.linear": "mm.a.fc",
    }


class Ultravox(Whisper):
    """Ultravox: several time steps are joined, then an MLP with norms."""

    hf_classes = ("UltravoxModel",)
    projector = "ultravox"
    outer: ClassVar[Mapping[str, str]] = {
        **Whisper.outer,
        f"{PROJECTOR}.ln_pre": "mm.a.norm_pre",
        f"{PROJECTOR}.linear_1": "mm.a.mlp.1",
        f"{PROJECTOR}.ln_mid": "mm.a.norm_mid",
        f"{PROJECTOR}.linear_2": "mm.a.mlp.2",
    }
    optional = ("mm.a.norm_mid",)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        factor = settings.whole.size("stack_factor")
        return {**super().own_fields(settings), STACK: uint32(factor)}


class Voxtral(Whisper):
    """Voxtral: four time steps are joined, then an MLP."""

    hf_classes = ("VoxtralForConditionalGeneration",)
    projector = "voxtral"
    audio_defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "num_mel_bins": 128,
    }
    outer: ClassVar[Mapping[str, str]] = {
        **Whisper.outer,
        f"{PROJECTOR}.linear_1": "mm.a.mlp.1",
        f"{PROJECTOR}.linear_2": "mm.a.mlp.2",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {**super().own_fields(settings), STACK: uint32(4)}


class AudioFlamingo3(Whisper):
    """Audio Flamingo 3: an MLP; its convolutions were trained in BF16."""

    hf_classes = ("AudioFlamingo3ForConditionalGeneration",)
    projector = "musicflamingo"
    audio_defaults = Voxtral.audio_defaults
    outer = Voxtral.outer
    convolutions = QuantType.F32
