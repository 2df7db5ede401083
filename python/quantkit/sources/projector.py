"""The encoders of a checkpoint, as the GGUF file beside the text model's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checkpoint.folder import Checkpoint
from ..errors import UnsupportedModelError
from ..files.json_file import read_json
from ..gguf.keys import QUANTIZATION_VERSION, Field, FileType, string, uint32
from ..gguf.opener import SourceOpener
from ..gguf.source import SourceTensor
from ..projectors import encoder_of, unknown_encoder
from ..projectors.encoder import Encoder, Settings
from ..projectors.section import Section, section_of
from .checkpoint import described, in_type, matrix_type, once_each

__all__ = ["ProjectorSource"]


PARTS = ("audio_tokenizer",)
"""Folders inside a checkpoint that have encoders."""
USUAL_KEYS = ("vision_config", "audio_config")
"""Where config.json has the settings of encoders of images and of sounds."""


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
        self.checkpoint = checkpoint = Checkpoint(folder, parts=PARTS)
        self.paths, self.files = checkpoint.paths, checkpoint.files
        self._metadata_file = metadata_file
        self.type = matrices = matrix_type(outtype or "auto", checkpoint.half_type)
        self.opener = SourceOpener.of(
            *(ProjectorSource, self.files),
            folder=checkpoint.folder,
            outtype=outtype,
            metadata_file=metadata_file,
        )
        encoder = _encoder(checkpoint)
        self._settings = settings = _settings(checkpoint, encoder)
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
        encoder, settings = self._encoder, self._settings
        return {
            "general.architecture": string("clip"),
            "general.type": string("mmproj"),
            **described(self.checkpoint.folder, self.tensors, self._metadata_file),
            **_of_clip(encoder, encoder.first_fields(settings)),
            "general.file_type": uint32(FileType[self.type.name]),
            **_of_clip(encoder, encoder.fields(settings)),
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
        }


def _of_clip(encoder: Encoder, fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields of an encoder under their whole keys."""
    return {
        key if key in encoder.bare else f"clip.{key}": field
        for key, field in fields.items()
    }


def _encoder(checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint.

    Raises:
        UnsupportedModelError: quantkit does not know it, or there is none.
    """
    whole = read_json(checkpoint.folder / "config.json") or checkpoint.config
    vision = whole.get("vision_config")
    classes = _classes(vision if isinstance(vision, dict) else {}) or _classes(whole)
    known = encoder_of(classes)
    if known is None:
        if not any(section_of(checkpoint.config, key, {}).values for key in USUAL_KEYS):
            raise _no_encoder(checkpoint, *USUAL_KEYS)
        raise unknown_encoder(classes)
    return known


def _no_encoder(checkpoint: Checkpoint, *keys: str) -> UnsupportedModelError:
    """The error if config.json has neither of the two keys."""
    return UnsupportedModelError(
        f"{checkpoint.folder}: config.json has neither a {keys[0]} nor an {keys[1]}, "
        "so the model has no encoder to write"
    )


def _classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The `architectures` of a config."""
    classes = config.get("architectures")
    named = classes if isinstance(classes, list) else []
    return tuple(name for name in named if isinstance(name, str))


def _settings(checkpoint: Checkpoint, encoder: Encoder) -> Settings:
    """What the metadata is made of.

    Raises:
        UnsupportedModelError: there is neither an encoder of images nor of sounds.
    """
    folder, config = checkpoint.folder, checkpoint.config
    vision, audio = encoder.sections(folder, config)
    if not vision.values and not audio.values:
        raise _no_encoder(checkpoint, encoder.vision_key, encoder.audio_key)
    images: dict[str, Any] = {}
    for file, key in (
        ("preprocessor_config.json", encoder.image_key),
        ("processor_config.json", "image_processor"),
    ):
        own = read_json(folder / file) or {}
        inner = own.get(key)
        images |= own | (inner if isinstance(inner, dict) else {})
    return Settings(
        folder,
        Section("config.json", config),
        vision,
        audio,
        Section("preprocessor_config.json", images, encoder.image_defaults),
        _classes(read_json(folder / "config.json") or {}),
        checkpoint.tensors,
    )
