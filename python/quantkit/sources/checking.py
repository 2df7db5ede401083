"""Check that the tensors of a source form a model that can be run."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import Field
from ..gguf.source import ModelSource
from ..models import check_model
from ..settings import TEXT, checked
from .checkpoint import CheckpointSource

__all__ = ["architecture", "check_source", "shapes_of"]

ARCHITECTURE = "general.architecture"


def architecture(metadata: Mapping[str, Field]) -> str:
    """The architecture that the metadata states.

    Raises:
        FormatError: it states none.
    """
    field = metadata.get(ARCHITECTURE)
    if field is None:
        raise FormatError(f"the metadata lacks {ARCHITECTURE}")
    return str(checked(field.value, TEXT, ARCHITECTURE))


def shapes_of(source: ModelSource) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors by name, outermost axis first."""
    return {name: tensor.shape for name, tensor in source.tensors.items()}


def check_source(source: ModelSource) -> None:
    """Refuse a model that could not be run; nothing is read but names and shapes.

    Raises:
        CheckpointError: the same as a FormatError, of a checkpoint.
        FormatError: a key or a tensor is missing, has another shape or is left over.
        UnsupportedModelError: quantkit cannot run this model.
    """
    metadata = source.metadata
    try:
        if isinstance(source, CheckpointSource):
            source.check(to_run=True)
        else:
            check_model(metadata, architecture(metadata), shapes_of(source))
    except (FormatError, UnsupportedModelError) as error:
        paths = getattr(source, "paths", ())
        raise type(error)(f"{paths[0]}: {error}" if paths else str(error)) from error
