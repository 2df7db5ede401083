"""Open a path or a name on the Hugging Face Hub as a model source."""

from __future__ import annotations

import os
from typing import TypeAlias

from ..checkpoint.hub import resolve
from ..errors import OptionError
from ..gguf.reader import GGUFFile
from ..gguf.source import ModelSource
from ..paths import StrPath, as_path
from ..progress import Notify
from .checkpoint import CheckpointSource

__all__ = ["ModelLike", "open_source"]

ModelLike: TypeAlias = StrPath | ModelSource
"""A GGUF file (any file of a split model), a checkpoint folder, `hf://org/name`, or an
open source, such as a `GGUFFile`."""


def open_source(
    model: ModelLike, parameter: str = "model", notify: Notify | None = None
) -> ModelSource:
    """Open a GGUF file or a checkpoint folder; an open source is returned unchanged.

    `hf://org/name` and `org/name` are checkpoints of the Hugging Face Hub, see `hub`.
    The matrices of a checkpoint keep their stored types.

    Args:
        model: a path or an open source.
        parameter: the name of the parameter, for messages.
        notify: called with a message where files of a checkpoint disagree.

    Raises:
        OptionError: `model` is neither a path nor a source.
        QuantkitError: the path is neither of them, or is damaged.
    """
    if isinstance(model, str | os.PathLike):
        given = as_path(model, parameter)
        path = resolve(model if isinstance(model, str) else given)
        if path.is_dir():
            return CheckpointSource(path, None, notify=notify)
        return GGUFFile(path)
    if not (hasattr(model, "metadata") and hasattr(model, "tensors")):
        raise OptionError(
            f"`{parameter}` is of type {type(model).__name__}; expected the path "
            "of a GGUF file or a checkpoint folder, or an open source"
        )
    return model
