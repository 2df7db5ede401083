"""The encoders of a checkpoint, as the GGUF file beside the text model's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checkpoint.folder import Checkpoint
from ..errors import CheckpointError, UnsupportedModelError
from ..files.json_file import read_json
from ..gguf.keys import QUANTIZATION_VERSION, Field, FileType, string, uint32
from ..gguf.source import SourceOpener, SourceTensor
from ..projectors import encoder_for
from ..projectors.encoder import Encoder, Settings
from ..projectors.section import Section
from .checkpoint import described, in_type, matrix_type, once_each

__all__ = ["ProjectorSource"]

IMAGES = {
    "preprocessor_config.json": "media_proc_cfg",
    "processor_config.json": "image_processor",
}
"""Files with the settings of the image processor -> the key that they may be under.

The keys of the later file count before those of the earlier one.
"""


class ProjectorSource:
    """The encoders and projectors of a checkpoint, as GGUF's `clip` model.

    Args:
        folder: a Hugging Face checkpoint folder.
        outtype: the type of matrices, one of `OUTTYPES`; None: keep each one's type.
        metadata_file: a JSON file with `general.*` keys that replace the folder's.

    Attributes:
        checkpoint, paths, files, type, tensors: as in `CheckpointSource`.

    Raises:
        CheckpointError: the folder is incomplete.
        FormatError: a file in it is damaged.
        UnsupportedModelError: the checkpoint has no encoder that quantkit knows.
        UnsupportedTypeError: `outtype` is unknown.
    """

    def __init__(
        self,
        folder: str | Path,
        outtype: str | None = "auto",
        *,
        metadata_file: Path | None = None,
    ) -> None:
        self.checkpoint = checkpoint = Checkpoint(folder)
        self.paths, self.files = checkpoint.paths, checkpoint.files
        self._metadata_file = metadata_file
        self.type = matrices = matrix_type(outtype or "auto", checkpoint.half_type)
        self.opener = SourceOpener.of(
            *(ProjectorSource, self.files),
            folder=checkpoint.folder,
            outtype=outtype,
            metadata_file=metadata_file,
        )
        configs = _configs(checkpoint)
        classes = _classes(read_json(checkpoint.folder / "config.json") or {})
        encoder = encoder_for(_classes(configs["vision_config"]) or classes)
        self._settings = settings = _settings(checkpoint, configs, encoder, classes)
        encoder.check_settings(settings)
        made = encoder.tensors(settings, checkpoint.tensors)
        self.tensors: Mapping[str, SourceTensor] = {
            name: in_type(
                *(name, tensor),
                lambda source: encoder.type_of(source.name, source.shape, matrices),
            ).opened_by(self.opener)
            for name, tensor in once_each(made)
        }
        shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        encoder.check_complete(settings, shapes)
        self._encoder = encoder

    @cached_property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key, in llama.cpp's order.

        Raises:
            CheckpointError: the config lacks a key.
        """
        own = self._encoder.fields(self._settings)
        return {
            "general.architecture": string("clip"),
            "general.type": string("mmproj"),
            **described(self.checkpoint.folder, self.tensors, self._metadata_file),
            "general.file_type": uint32(FileType[self.type.name]),
            **{
                key if key in self._encoder.bare else f"clip.{key}": field
                for key, field in own.items()
            },
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
        }


def _configs(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """The configs of the encoders of images and sounds; empty if there is none.

    Raises:
        CheckpointError: one is not an object.
        UnsupportedModelError: there is neither.
    """
    found: dict[str, dict[str, Any]] = {}
    inner = checkpoint.config.get("thinker_config") or {}
    if not isinstance(inner, dict):
        raise CheckpointError("config.json: thinker_config is not an object")
    for key in ("vision_config", "audio_config"):
        stated = checkpoint.config.get(key) or inner.get(key) or {}
        if not isinstance(stated, dict):
            raise CheckpointError(f"config.json: {key} is not an object")
        found[key] = stated
    if not any(found.values()):
        raise UnsupportedModelError(
            f"{checkpoint.folder}: config.json has neither a vision_config nor an "
            "audio_config, so the model has no encoder to write"
        )
    return found


def _classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The `architectures` of a config."""
    classes = config.get("architectures")
    named = classes if isinstance(classes, list) else []
    return tuple(name for name in named if isinstance(name, str))


def _settings(
    checkpoint: Checkpoint,
    configs: Mapping[str, Mapping[str, Any]],
    encoder: Encoder,
    classes: tuple[str, ...],
) -> Settings:
    """What the metadata is made of."""
    images: dict[str, Any] = {}
    for file, key in IMAGES.items():
        own = read_json(checkpoint.folder / file) or {}
        inner = own.get(key)
        images |= own | (inner if isinstance(inner, dict) else {})
    vision, audio = (
        Section(f"config.json: {key}", configs[key], usual)
        for key, usual in (
            ("vision_config", encoder.defaults),
            ("audio_config", encoder.audio_defaults),
        )
    )
    return Settings(
        checkpoint.folder,
        Section("config.json", checkpoint.config),
        vision,
        audio,
        Section("preprocessor_config.json", images),
        classes,
    )
