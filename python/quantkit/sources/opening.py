"""From a path, or a name on the Hub, to a model source."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.hub import resolve
from ..gguf.reader import GGUFFile
from ..gguf.source import ModelSource
from .checkpoint import CheckpointSource

__all__ = ["open_source"]


def open_source(model: str | Path | ModelSource) -> ModelSource:
    """The source at a path: a checkpoint folder or a GGUF file; a source is itself.

    `hf://org/name` and `org/name` are checkpoints of the Hugging Face Hub, see `hub`.
    A checkpoint's matrices come in the types that they are stored in.

    Raises:
        QuantkitError: the path holds neither, or what it holds is damaged.
    """
    if not isinstance(model, str | Path):
        return model
    path = resolve(model)
    return CheckpointSource(path, None) if path.is_dir() else GGUFFile(path)
