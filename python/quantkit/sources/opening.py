"""From a path, or a name on the Hub, to a model source."""

from __future__ import annotations

import os
from typing import TypeAlias

from ..checkpoint.hub import resolve
from ..errors import OptionError
from ..gguf.reader import GGUFFile
from ..gguf.source import ModelSource
from ..paths import StrPath, as_path
from .checkpoint import CheckpointSource

__all__ = ["ModelLike", "open_source"]

ModelLike: TypeAlias = StrPath | ModelSource
"""A GGUF file (any of a split one), a checkpoint folder, `hf://org/name`, or an open
source, such as a `GGUFFile`."""


def open_source(model: ModelLike, parameter: str = "model") -> ModelSource:
    """The source at a path: a checkpoint folder or a GGUF file; a source is itself.

    `hf://org/name` and `org/name` are checkpoints of the Hugging Face Hub, see `hub`.
    A checkpoint's matrices come in the types that they are stored in.

    Args:
        model: as users give it.
        parameter: the name that messages call it by.

    Raises:
        OptionError: it is neither a path nor a source.
        QuantkitError: the path holds neither, or what it holds is damaged.
    """
    if isinstance(model, str | os.PathLike):
        given = model if isinstance(model, str) else as_path(model, parameter)
        path = resolve(given)
        return CheckpointSource(path, None) if path.is_dir() else GGUFFile(path)
    if not (hasattr(model, "metadata") and hasattr(model, "tensors")):
        raise OptionError(
            f"`{parameter}` is of type {type(model).__name__}; expected the path "
            "of a GGUF file or a checkpoint folder, or an open source"
        )
    return model
