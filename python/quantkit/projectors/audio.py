"""The base classes of encoders of sounds, alone or beside one of images.

Source: the `MmprojModel` classes of llama.cpp's converter with `has_audio_encoder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..gguf.keys import Field, boolean, string, uint32
from ..types import QuantType
from .encoder import Encoder, Named, Settings, Tensors
from .section import Section

__all__ = ["AUDIO_EPSILON", "MEL_BINS", "AudioEncoder", "Pair"]

AUDIO_EPSILON = "audio.attention.layer_norm_epsilon"
MEL_BINS = "audio.num_mel_bins"
SOUNDS = ("a.", "mm.a.")


class AudioEncoder(Encoder):
    """One kind of encoder of sounds and projector."""

    block = "a.blk"

    def section(self, settings: Settings) -> Section:
        """The settings of the encoder itself."""
        return settings.audio

    def common_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that all encoders of sounds have."""
        sizes = {
            "projection_dim": settings.whole.size("hidden_size", "n_embd"),
            "embedding_length": self.width(settings),
            "feed_forward_length": self.inner_size(settings),
            "block_count": self.n_layers(settings),
            "attention.head_count": self.n_heads(settings),
        }
        return {
            "has_audio_encoder": boolean(True),
            **{f"audio.{key}": uint32(value) for key, value in sizes.items()},
        }

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return self.section(settings).size("hidden_size", "d_model", "hidden_dim")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        keys = ("num_attention_heads", "encoder_attention_heads", "n_heads")
        return self.section(settings).size(*keys, "num_heads")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part."""
        return self.section(settings).size("intermediate_size", "encoder_ffn_dim")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        keys = ("n_layers", "num_hidden_layers", "num_layers", "encoder_layers")
        return self.section(settings).layers(*keys)


class Pair(Encoder):
    """An encoder of images and one of sounds in one file.

    Attributes:
        images: the one of images.
        sounds: the one of sounds.
    """

    images: ClassVar[Encoder]
    sounds: ClassVar[AudioEncoder]

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support."""
        for part in self.parts(settings):
            part.check_settings(settings)

    def parts(self, settings: Settings) -> tuple[Encoder, ...]:
        """The encoders that the model has."""
        return (self.images, self.sounds)

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        fields = self.common_fields(settings)
        for part in self.parts(settings):
            kind = "audio" if part is self.sounds else "vision"
            fields[f"{kind}.projector_type"] = string(part.projector)
            fields |= part.own_fields(settings)
        return fields

    def common_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that all encoders have, of both."""
        fields: dict[str, Field] = {}
        for part in self.parts(settings):
            fields |= part.common_fields(settings)
        return fields

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter."""
        for name, tensor in stored.items():
            for part in self.parts(settings):
                yield from part.tensors(settings, {name: tensor})

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor, if matrices get the type `matrices`."""
        part = self.sounds if name.startswith(SOUNDS) else self.images
        return part.type_of(name, shape, matrices)

    def check_complete(
        self, settings: Settings, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Refuse a model that lacks tensors that others of its kind have."""
        for part in self.parts(settings):
            part.check_complete(settings, shapes)
