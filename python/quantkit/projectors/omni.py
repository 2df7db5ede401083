"""Qwen 2.5 Omni's encoders of images and sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..gguf.keys import Field, boolean, float32, string, uint32
from .audio import Pair
from .encoder import EPSILON, Named, Settings, Tensors
from .qwen_vl import Qwen2VL, window_period
from .waves import wave_positions
from .whisper import Whisper

__all__ = ["Qwen25Omni"]


class Images(Qwen2VL):
    """Qwen 2.5-VL's encoder, inside the thinker."""

    renames: ClassVar[tuple[tuple[str, str], ...]] = (("thinker.", ""),)


class Sounds(Whisper):
    """Whisper's layers; positions are computed."""

    starts = ("audio_tower.",)
    renames: ClassVar[tuple[tuple[str, str], ...]] = (("thinker.", ""),)
    skipped = ("audio_bos_eos_token",)
    outer: ClassVar[Mapping[str, str]] = {
        "audio_tower.conv1": "a.conv1d.1",
        "audio_tower.conv2": "a.conv1d.2",
        "audio_tower.ln_post": "a.post_ln",
        "audio_tower.proj": "mm.a.fc",
    }


class Qwen25Omni(Pair):
    """Qwen 2.5 Omni."""

    hf_classes = ("Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration")
    projector = "qwen2.5o"
    images, sounds = Images(), Sounds()
    defaults = Images.defaults
    audio_defaults = Sounds.audio_defaults

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        return {
            **self.common_fields(settings),
            **self.sounds.own_fields(settings),
            "projector_type": string(self.projector),
            "use_silu": boolean(True),
            "vision.n_wa_pattern": uint32(window_period(settings)),
            EPSILON: float32(1e-6),
        }

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors; positions of sounds are first."""
        yield "a.position_embd.weight", wave_positions(self.sounds.width(settings))
        yield from super().tensors(settings, stored)
