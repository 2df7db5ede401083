"""From a path to a model source."""

from __future__ import annotations

from pathlib import Path

from .convert import CheckpointSource
from .gguf.reader import GGUFFile
from .source import ModelSource

__all__ = ["open_source"]


def open_source(model: str | Path | ModelSource) -> ModelSource:
    """The source at a path: a checkpoint folder or a GGUF file; a source is itself.

    A checkpoint's matrices come in the types that they are stored in.

    Raises:
        QuantkitError: the path holds neither, or what it holds is damaged.
    """
    if not isinstance(model, str | Path):
        return model
    path = Path(model)
    return CheckpointSource(path, None) if path.is_dir() else GGUFFile(path)
