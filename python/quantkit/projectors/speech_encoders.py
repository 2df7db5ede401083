"""Whisper's encoder inside other modules: GLM-ASR and MERaLiON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..errors import CheckpointError
from ..gguf.keys import Field, uint32
from .encoder import Named, Settings
from .whisper import STACK, Whisper

__all__ = ["GlmASR", "Meralion"]

MARKS = "audio_encoder.audio_bos_eos_token.weight"
"""The embeddings of the tokens before and after a sound."""


class GlmASR(Whisper):
    """GLM-ASR: several time steps are joined, then an MLP."""

    hf_classes = ("GlmasrModel",)
    projector = "glma"
    audio_key = "whisper_config"
    starts = ("audio_tower.", "audio_encoder.")
    renames = (("audio_encoder.whisper.", "audio_tower."),)
    skipped = ("audio_encoder.proj.",)
    outer: ClassVar[Mapping[str, str]] = {
        **Whisper.outer,
        "audio_encoder.layer_norm": "mm.a.norm_pre",
        "audio_encoder.adapting.0": "mm.a.mlp.1",
        "audio_encoder.adapting.2": "mm.a.mlp.2",
    }
    optional = ("a.position_embd", "a.post_ln")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        factor = settings.whole.size("merge_factor")
        return {**super().own_fields(settings), STACK: uint32(factor)}

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; the two marks are split.

        Raises:
            CheckpointError: the tensor of the marks has another number of rows.
        """
        if source != MARKS:
            yield from super().converted(source, tensor, settings)
            return
        if len(tensor.shape) != 2 or tensor.shape[0] != 2:
            raise CheckpointError(
                f"{source!r} has the shape {list(tensor.shape)}; expected [2, width]: "
                "the tokens before and after a sound"
            )
        for row, name in enumerate(("v.boi", "v.eoi")):
            yield name, reshaped(taken(tensor, np.array([row])), tensor.shape[1:])

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the modules or tensors that a model must have."""
        return [*super().needed(settings), "v.boi", "v.eoi"]


class Meralion(Whisper):
    """MERaLiON 2: several time steps are joined, then an MLP with a gate."""

    hf_classes = ("MERaLiON2ForConditionalGeneration",)
    projector = "meralion"
    audio_key = "speech_config"
    starts = ("audio_tower.", "ln_speech.", "speech_audio_adapter.")
    renames = (("speech_encoder.", "audio_tower."),)
    outer: ClassVar[Mapping[str, str]] = {
        **Whisper.outer,
        "ln_speech": "mm.a.norm_pre",
        "speech_audio_adapter.mlp_adapter.0": "mm.a.mlp.0",
        "speech_audio_adapter.gate_proj": "mm.a.mlp.1",
        "speech_audio_adapter.pool_proj": "mm.a.mlp.2",
        "speech_audio_adapter.out_proj": "mm.a.mlp.3",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        factor = settings.whole.size("speech_mlp_scale_factor", default=15)
        return {**super().own_fields(settings), STACK: uint32(factor)}
