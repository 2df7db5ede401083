"""The encoders of sounds of Qwen 3, in Qwen3-ASR and Qwen3-Omni."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, string
from ..types import QuantType
from .audio import Pair
from .encoder import Named, Settings, Tensors
from .qwen_vl import Qwen3VL
from .waves import wave_positions
from .whisper import Whisper

__all__ = ["Qwen3ASR", "Qwen3Omni"]

MERGER = {"ln_q": "norm", "mlp.0": "linear_fc1", "mlp.2": "linear_fc2"}
"""Modules of the projectors of images, as Qwen3-Omni and Qwen 3-VL call them."""
CONVOLUTIONS = ("a.conv2d.", "a.conv_out.")


class Qwen3Sounds(Whisper):
    """Three convolutions in time and frequency, Whisper's layers, and an MLP."""

    projector = "qwen3a"
    starts = ("audio_tower.",)
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("thinker.", ""),
        ("model.audio_tower.", "audio_tower."),
        ("model.multi_modal_projector.linear_", "audio_tower.proj"),
    )
    outer: ClassVar[Mapping[str, str]] = {
        **{f"audio_tower.conv2d{number}": f"a.conv2d.{number}" for number in (1, 2, 3)},
        "audio_tower.conv_out": "a.conv_out",
        "audio_tower.ln_post": "a.post_ln",
        "audio_tower.proj1": "mm.a.mlp.1",
        "audio_tower.proj2": "mm.a.mlp.2",
    }

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; readers add biases to channels."""
        if ".conv2d" in source and source.endswith(".bias"):
            tensor = reshaped(tensor, (*tensor.shape, 1, 1))
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F16."""
        if name.startswith(CONVOLUTIONS) and name.endswith(".weight"):
            return QuantType.F16
        return super().type_of(name, shape, matrices)


class Qwen3ASR(Qwen3Sounds):
    """Qwen3-ASR, as it is published, and as transformers writes it.

    llama.cpp's converter knows only the first layout.
    """

    hf_classes = ("Qwen3ASRForConditionalGeneration",)

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        return {
            **self.common_fields(settings),
            **self.own_fields(settings),
            "audio.projector_type": string(self.projector),
        }

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors; positions of sounds are first."""
        yield "a.position_embd.weight", wave_positions(self.width(settings))
        yield from super().tensors(settings, stored)


class Images(Qwen3VL):
    """Qwen 3-VL's encoder, inside the thinker and with other names."""

    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("thinker.visual.", "visual."),
        *Qwen3VL.renames,
        ("visual.merger_list.", "visual.deepstack_merger_list."),
        *((f".{old}.", f".{new}.") for old, new in MERGER.items()),
    )


class Qwen3Omni(Pair):
    """Qwen3-Omni.

    llama.cpp's converter (build 11434) stops at the names of its encoder of images;
    the file is the one that it would write if it found them.
    """

    hf_classes = ("Qwen3OmniMoeForConditionalGeneration",)
    projector = Images.projector
    images, sounds = Images(), Qwen3Sounds()
    defaults = Images.defaults
    audio_defaults = Qwen3Sounds.audio_defaults

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        return {
            **self.common_fields(settings),
            **self.sounds.own_fields(settings),
            **self.images.own_fields(settings),
            "vision.projector_type": string(self.projector),
            "audio.projector_type": string(self.sounds.projector),
        }

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors; positions of sounds are first."""
        yield "a.position_embd.weight", wave_positions(self.sounds.width(settings))
        yield from super().tensors(settings, stored)
