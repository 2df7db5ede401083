"""The base class of encoders with their projectors, as GGUF's `clip` models.

An encoder turns an image or a sound into vectors, and the projector turns these into
embeddings of the text model.  llama.cpp loads both from a file beside that of the text
model.  Like a model family, an encoder is mostly data: names of tensors, and keys of
the config.

Source: the `MmprojModel` classes of llama.cpp's converter (conversion/base.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from ..types import QuantType
from .section import Section, section_of

__all__ = ["ATTENTION", "N_COLORS", "Encoder", "Named", "Settings", "Tensors"]

Tensors = Mapping[str, LazyTensor]
Named = tuple[str, LazyTensor]

N_COLORS = 3
EPSILON = "vision.attention.layer_norm_epsilon"
ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
}
"""Module inside a layer -> GGUF name, as in most encoders."""


@dataclass(frozen=True)
class Settings:
    """What the metadata is made of.

    Attributes:
        folder: the checkpoint's.
        whole: config.json, with the text model's keys at the top level.
        vision: its `vision_config`, or an empty section.
        audio: its `audio_config`, likewise.
        images: the settings of the image processor.
        classes: the `architectures` of the whole model.
        stored: the checkpoint's tensors.
    """

    folder: Path
    whole: Section
    vision: Section
    audio: Section
    images: Section
    classes: tuple[str, ...]
    stored: Tensors


class Encoder:
    """One kind of encoder and projector, of images unless it says otherwise.

    Attributes:
        hf_classes: the `architectures` entries that have it: of `vision_config`, else
            of the whole model.
        projector: the value of `clip.projector_type`.
        vision_key: where config.json has the settings of the encoder of images.
        audio_key: likewise of sounds.
        image_key: where the settings of the image processor may be, too.
        defaults: the config class's values for keys that are missing there.
        audio_defaults: likewise of sounds.
        image_defaults: values for keys that the image processor's settings lack.
        starts: starts of the names of its tensors, after `renames`; others are not
            read.
        renames: (old, new) replacements applied to the checkpoint's tensor names.
        skipped: parts of the names of tensors that are not written.
        layer: pattern of a layer's modules; its groups are the layer number and the
            rest of the name.
        outer: checkpoint module, or whole name -> GGUF name, outside the layers.
        inner: checkpoint module -> GGUF name, inside a layer.
        optional: GGUF names without which a model is complete.
        block: start of the GGUF names inside layers.
        bare: keys of metadata without the prefix "clip.".
    """

    hf_classes: ClassVar[tuple[str, ...]]
    projector: ClassVar[str]
    vision_key: ClassVar[str] = "vision_config"
    audio_key: ClassVar[str] = "audio_config"
    image_key: ClassVar[str] = "media_proc_cfg"
    defaults: ClassVar[Mapping[str, Any]] = {}
    audio_defaults: ClassVar[Mapping[str, Any]] = {}
    image_defaults: ClassVar[Mapping[str, Any]] = {}
    starts: ClassVar[tuple[str, ...]]
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    skipped: ClassVar[tuple[str, ...]] = ()
    layer: ClassVar[re.Pattern[str]]
    outer: ClassVar[Mapping[str, str]]
    inner: ClassVar[Mapping[str, str]]
    optional: ClassVar[tuple[str, ...]] = ()
    block: ClassVar[str] = "v.blk"
    bare: ClassVar[tuple[str, ...]] = ()

    def sections(
        self, folder: Path, config: Mapping[str, Any]
    ) -> tuple[Section, Section]:
        """The settings of its images and of its sounds, empty where it has none.

        Raises:
            CheckpointError: one is not an object.
        """
        return (
            section_of(config, self.vision_key, self.defaults),
            section_of(config, self.audio_key, self.audio_defaults),
        )

    def section(self, settings: Settings) -> Section:
        """The settings of the encoder itself."""
        return settings.vision

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """

    def first_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.` before the type of the file; usually none."""
        return {}

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.` after the type of the file, in order."""
        return {
            **self.common_fields(settings),
            "projector_type": string(self.projector),
            **self.own_fields(settings),
        }

    def common_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that all encoders have."""
        images = settings.images
        sizes = {
            "projection_dim": settings.whole.size("hidden_size", "n_embd"),
            "image_size": self.image_size(settings),
            "patch_size": self.patch_size(settings),
            "embedding_length": self.width(settings),
            "feed_forward_length": self.inner_size(settings),
            "block_count": self.n_layers(settings),
            "attention.head_count": self.n_heads(settings),
        }
        colors = {key: images.colors(key) for key in ("image_mean", "image_std")}
        return {
            "has_vision_encoder": boolean(True),
            **{f"vision.{key}": uint32(value) for key, value in sizes.items()},
            **{
                f"vision.{key}": array(ValueType.FLOAT32, value)
                for key, value in colors.items()
            },
        }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has; none, unless it says so."""
        return {}

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels."""
        return settings.vision.size("image_size")

    def patch_size(self, settings: Settings) -> int:
        """The width of a patch in pixels."""
        return settings.vision.size("patch_size")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_attention_heads", "num_heads")

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return self.section(settings).size("hidden_size")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the metadata says it."""
        return self.section(settings).size("intermediate_size")

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        return self.inner_size(settings)

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return self.section(settings).layers("num_hidden_layers", "depth")

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter.

        Raises:
            CheckpointError: a tensor is missing, or does not fit the config.
            UnsupportedModelError: the encoder does not have a tensor.
        """
        for source, tensor in stored.items():
            name = source
            for old, new in self.renames:
                name = name.replace(old, new)
            is_own = name.startswith(self.starts)
            if is_own and not any(part in name for part in self.skipped):
                yield from self.converted(name, tensor, settings)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors made from one checkpoint tensor, usually one."""
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor.

        Raises:
            UnsupportedModelError: the encoder has no such tensor.
        """
        if source in self.outer:
            return self.outer[source]
        module, _, kind = source.rpartition(".")
        name = self.outer.get(module)
        if match := self.layer.fullmatch(module):
            number, part = match.groups()
            if int(number) < self.n_layers(settings) and part in self.inner:
                name = f"{self.block}.{number}.{self.inner[part]}"
        if name is None or kind not in ("weight", "bias"):
            raise UnsupportedModelError(
                f"the checkpoint has {source!r}, which is not a tensor of the encoder "
                f"{self.projector!r} with {self.n_layers(settings)} layers"
            )
        return f"{name}.{kind}"

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor, if matrices get the type `matrices`.

        Patches are F16 or F32, because readers convolve with nothing else.
        """
        is_patch = ".patch_embd.weight" in name or ".patch_merger.weight" in name
        if is_patch and len(shape) > 1:
            return QuantType.F16 if matrices is QuantType.F16 else QuantType.F32
        is_matrix = len(shape) > 1 and name.endswith(".weight")
        if not is_matrix or name.endswith(("_norm.weight", ".position_embd.weight")):
            return QuantType.F32
        return matrices

    def check_complete(
        self, settings: Settings, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Refuse a model that lacks tensors that others of its kind have.

        Raises:
            CheckpointError: one is missing, or has a shape that contradicts the config.
        """
        for name in self.needed(settings):
            if name not in shapes and f"{name}.weight" not in shapes:
                raise CheckpointError(
                    f"the checkpoint lacks the tensor of the encoder that GGUF calls "
                    f"{name!r}; a shard is missing"
                )
        for name in ("v.patch_embd.weight", "v.patch_embd.weight.1"):
            shape = shapes.get(name, ())
            if len(shape) > 2 and shape[1] != N_COLORS:
                raise CheckpointError(
                    f"{name} has the shape {list(shape)}; expected [width, {N_COLORS}, "
                    "size, size]: another program, such as MLX, moved the axes; use "
                    "the checkpoint that this one was made from"
                )
        width, inner = self.width(settings), self.n_inner_rows(settings)
        expected = {
            "ln1": (width,),
            "ffn_up": (inner, width),
            "ffn_down": (width, inner),
        }
        for number, part in self._parts(settings):
            name = f"{self.block}.{number}.{part}.weight"
            if part in expected and shapes[name] != expected[part]:
                raise CheckpointError(
                    f"{name} has the shape {list(shapes[name])}; config.json says "
                    f"{list(expected[part])}: it does not belong to these weights"
                )

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the modules or tensors that a model must have."""
        return [
            *(
                f"{self.block}.{number}.{part}"
                for number, part in self._parts(settings)
            ),
            *(name for name in self.outer.values() if name not in self.optional),
        ]

    def _parts(self, settings: Settings) -> Iterator[tuple[int, str]]:
        """Each layer's number and a tensor that it must have."""
        parts = [part for part in self.inner.values() if part not in self.optional]
        for number in range(self.n_layers(settings)):
            yield from ((number, part) for part in parts)
