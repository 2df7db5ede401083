"""The vision encoder of a checkpoint, as the GGUF file beside the text model's."""

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
from ..projectors.encoder import Settings
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
    """The vision encoder and projector of a checkpoint, as GGUF's `clip` model.

    Args:
        folder: a Hugging Face checkpoint folder.
        outtype: the type of matrices, one of `OUTTYPES`; None: keep each one's type.
        metadata_file: a JSON file with `general.*` keys that replace the folder's.

    Attributes:
        checkpoint, paths, files, type, tensors: as in `CheckpointSource`.

    Raises:
        CheckpointError: the folder is incomplete.
        FormatError: a file in it is damaged.
        UnsupportedModelError: the checkpoint has no vision encoder that quantkit knows.
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
        vision = _vision_config(checkpoint)
        encoder = encoder_for(checkpoint.config, vision)
        self._settings = settings = _settings(checkpoint, vision, encoder.defaults)
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
            **{f"clip.{key}": field for key, field in own.items()},
            "general.quantization_version": uint32(QUANTIZATION_VERSION),
        }


def _vision_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config of the encoder.

    Raises:
        CheckpointError: it is not an object.
        UnsupportedModelError: there is none.
    """
    vision = checkpoint.config.get("vision_config")
    if not vision:
        raise UnsupportedModelError(
            f"{checkpoint.folder}: config.json has no vision_config, so the model has "
            "no vision encoder to write"
        )
    if not isinstance(vision, dict):
        raise CheckpointError("config.json: vision_config is not an object")
    return vision


def _settings(
    checkpoint: Checkpoint, vision: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Settings:
    """What the metadata is made of."""
    images: dict[str, Any] = {}
    for file, key in IMAGES.items():
        own = read_json(checkpoint.folder / file) or {}
        inner = own.get(key)
        images |= own | (inner if isinstance(inner, dict) else {})
    classes = checkpoint.config.get("architectures")
    return Settings(
        checkpoint.folder,
        Section("config.json", checkpoint.config),
        Section("config.json: vision_config", vision, defaults),
        Section("preprocessor_config.json", images),
        tuple(classes) if isinstance(classes, list) else (),
    )
