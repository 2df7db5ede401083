"""The encoders of MiMo V2.5, of images and of sounds.

The second one is in the folder `audio_tokenizer`, except for what follows its codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..files.json_file import read_json
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from .audio import Pair
from .encoder import EPSILON, Named, Settings, Tensors
from .mimo_audio import MimoAudio
from .mimo_tables import TOKENIZER, with_tables
from .qwen_vl import TwoFrames
from .section import Section, section_of

__all__ = ["Mimo"]

WINDOWS = "vit_window_attn_types"


class MimoVision(TwoFrames):
    """MiMo V2.5: Qwen 2.5-VL's layers with fewer keys than queries, and sinks."""

    projector = "mimovl"
    defaults: ClassVar[Mapping[str, Any]] = {"image_size": 560, "rms_norm_eps": 1e-6}
    outer: ClassVar[Mapping[str, str]] = {
        "visual.patch_embed.proj": "v.patch_embd",
        "visual.merger.ln_q": "v.post_ln",
        "visual.merger.mlp.0": "mm.0",
        "visual.merger.mlp.2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.qkv": "attn_qkv",
        "attn.sinks": "attn_sinks",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    optional = ("attn_sinks",)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        n_kv_heads = vision.size("num_key_value_heads", default=8)
        return {
            "use_silu": boolean(True),
            "vision.attention.head_count_kv": uint32(n_kv_heads),
            "vision.spatial_merge_size": uint32(vision.size("spatial_merge_size")),
            "vision.window_size": uint32(vision.size("visual_token_window_size")),
            "vision.wa_pattern_mode": array(ValueType.INT32, self._windows(settings)),
            EPSILON: float32(vision.epsilon("rms_norm_eps")),
            **settings.images.pixel_bounds("min_pixels", "max_pixels"),
        }

    def _windows(self, settings: Settings) -> list[int]:
        """The kind of windows of each layer; -1: it sees the whole image.

        Raises:
            CheckpointError: these are not as many as layers.
        """
        kinds = settings.vision.integers(WINDOWS, -1, 1)
        if len(kinds) != self.n_layers(settings):
            raise CheckpointError(
                f"config.json: vision_config.{WINDOWS} has {len(kinds)} numbers, but "
                f"the encoder has {self.n_layers(settings)} layers"
            )
        return kinds

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source == "visual.patch_embed.proj.weight":
            yield from self.frames(tensor)
        elif source.endswith(".attn.sinks"):
            name = self.gguf_name(f"{source}.bias", settings)
            yield name.removesuffix(".bias"), tensor
        else:
            yield self.gguf_name(source, settings), tensor


class Mimo(Pair):
    """MiMo V2.5."""

    hf_classes = ("MiMoV2ForCausalLM",)
    projector = MimoVision.projector
    images, sounds = MimoVision(), MimoAudio()
    defaults = MimoVision.defaults
    audio_defaults = MimoAudio.audio_defaults

    def sections(
        self, folder: Path, config: Mapping[str, Any]
    ) -> tuple[Section, Section]:
        """The settings of its images, and of its sounds in their own file."""
        file = f"{TOKENIZER}/config.json"
        return (
            section_of(config, self.vision_key, self.defaults),
            Section(file, read_json(folder / file) or {}, self.audio_defaults),
        )

    def check_settings(self, settings: Settings) -> None:
        """Refuse a model of which only half is known.

        Raises:
            CheckpointError: one of the two encoders has no settings.
        """
        super().check_settings(settings)
        if not settings.vision.values or not settings.audio.values:
            raise CheckpointError(
                f"config.json lacks vision_config, or {TOKENIZER}/config.json is "
                "missing; download the complete folder"
            )

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter."""
        yield from super().tensors(settings, with_tables(settings, stored))
