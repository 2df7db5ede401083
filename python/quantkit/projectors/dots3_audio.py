"""dots 3 note's encoder of sounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .encoder import ATTENTION, Named, Settings
from .fused import halves
from .section import Section

__all__ = ["Dots3Audio"]

SPEECH = "audio_encoder.dots_encoder.speech_encoder"
ADAPTER = "audio_encoder.audio_adapter.proj"
FLAGS = {
    "use_conv2d_stem": True,
    "use_rope": True,
    "use_rms_norm": True,
    "use_causal": False,
}
ROPE = {"partial_rotary_factor": 0.5, "rope_theta": 10000.0}
"""Settings whose other values llama.cpp does not support."""
CONVOLUTIONS = ("a.conv2d.", "a.conv_out.")


class Dots3Audio(AudioEncoder):
    """dots 3 note: convolutions, Whisper's layers with gates, and an MLP."""

    projector = "dots3note_a"
    starts = ("audio_encoder.",)
    layer = re.compile(
        r"audio_encoder\.dots_encoder\.speech_encoder\.layers\.(\d+)\.(.+)"
    )
    outer: ClassVar[Mapping[str, str]] = {
        **{f"{SPEECH}.conv2d{number}": f"a.conv2d.{number}" for number in (1, 2, 3)},
        f"{SPEECH}.conv_out": "a.conv_out",
        f"{SPEECH}.layer_norm": "a.post_ln",
        f"{ADAPTER}.0": "mm.a.norm_pre",
        f"{ADAPTER}.1": "mm.a.mlp.1",
        f"{ADAPTER}.3": "mm.a.mlp.3",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "self_attn_layer_norm": "ln1",
        "self_attn.out_proj": "attn_out",
        "final_layer_norm": "ln2",
        "fc1_gate": "ffn_gate",
        "fc1_up": "ffn_up",
        "fc2": "ffn_down",
    }

    def section(self, settings: Settings) -> Section:
        """The sizes of the encoder, which are inside its settings."""
        return settings.audio.inside("whisper_config")

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """
        audio, rope = settings.audio, settings.audio.inside("rope_parameters")
        self.section(settings).only("activation_function", "swiglu")
        for key, value in FLAGS.items():
            if audio.flag(key) is not value:
                raise CheckpointError(f"{audio.where}: {key} is not {value}")
        audio.only("merge_factor", 1)
        audio.only("chunk_seconds", 60)
        for key, number in ROPE.items():
            rope.only(key, number)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            MEL_BINS: uint32(self.section(settings).size("num_mel_bins")),
            AUDIO_EPSILON: float32(1e-6),
        }

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; gates and ups are split."""
        if ".fc1." not in source:
            yield self.gguf_name(source, settings), tensor
            return
        for part, half in zip(("gate", "up"), halves(source, tensor), strict=True):
            name = source.replace(".fc1.", f".fc1_{part}.")
            yield self.gguf_name(name, settings), half

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F32."""
        if name.startswith(CONVOLUTIONS):
            return QuantType.F32
        return super().type_of(name, shape, matrices)
