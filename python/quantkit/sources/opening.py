"""Open a path or a name on the Hugging Face Hub as a model source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from ..checkpoint.hub import resolve
from ..errors import OptionError, UnsupportedModelError
from ..forward.encoder import pooling_of
from ..forward.facts import Facts
from ..gguf.keys import ValueType, text_of
from ..gguf.reader import GGUFFile
from ..gguf.source import ModelSource
from ..models import gives_embeddings
from ..paths import StrPath, as_path
from ..progress import Notify
from .checkpoint import CheckpointSource

__all__ = [
    "ModelLike",
    "embeds",
    "open_embedder",
    "open_runnable",
    "open_source",
    "pooling_named",
]

ModelLike: TypeAlias = StrPath | ModelSource
"""A GGUF file (any file of a split model), a checkpoint folder, `hf://org/name`, or an
open source, such as a `GGUFFile`."""

ARCHITECTURE = "general.architecture"
POOLS = (1, 2, 3)
"""The values of `pooling_type` by which hidden states become one embedding."""

NO_MODELS = {
    "imatrix": "an importance matrix, which is given beside a model; give the model "
    "here",
    "adapter": "an adapter (LoRA), which llama.cpp loads beside a model; give the "
    "model, or merge the adapter into the original model and convert that",
}
"""What GGUF files are, and what to do, by `general.type`."""


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
        return _gguf_model(path)
    if not (hasattr(model, "metadata") and hasattr(model, "tensors")):
        raise OptionError(
            f"`{parameter}` is of type {type(model).__name__}; expected the path "
            "of a GGUF file or a checkpoint folder, or an open source"
        )
    return model


def open_runnable(model: ModelLike) -> ModelSource:
    """Open a model that is to be run on text; see `open_source`.

    Raises:
        OptionError: `model` is neither a path nor a source.
        UnsupportedModelError: it is the part of a model for images, a vocabulary, or
            an encoder, which predicts no text.
        QuantkitError: the path is neither of them, or is damaged.
    """
    source = _open_whole(model)
    architecture = text_of(source.metadata, ARCHITECTURE) or ""
    if gives_embeddings(architecture, source.metadata):
        raise UnsupportedModelError(
            f"{_named(model)} gives embeddings of texts and predicts no text, so it "
            "has no perplexity; `quantkit ppl` and compare_embeddings measure how far "
            "embeddings move"
        )
    return source


def open_embedder(model: ModelLike) -> ModelSource:
    """Open a model that is to make embeddings of texts; errors as for `open_runnable`.

    Raises:
        UnsupportedModelError: it does not say how it makes embeddings.
    """
    source = _open_whole(model)
    if not embeds(source):
        raise UnsupportedModelError(
            f"{_named(model)} does not say how to make an embedding of hidden states: "
            "it is no encoder, and its metadata has no pooling_type of mean, cls or "
            "last"
        )
    return source


def embeds(source: ModelSource) -> bool:
    """Whether a model gives embeddings: an encoder, or a decoder that says how."""
    metadata = source.metadata
    if isinstance(source, CheckpointSource):
        metadata = source.model_fields  # without the vocabulary, which takes long
    architecture = text_of(metadata, ARCHITECTURE) or ""
    if gives_embeddings(architecture, metadata):
        return True
    pooling = metadata.get(f"{architecture}.pooling_type")
    if pooling is None or pooling.type is ValueType.ARRAY:
        return False
    return pooling.value in POOLS


def pooling_named(source: ModelSource) -> str:
    """How a model makes an embedding of hidden states: "mean", "cls" or "last".

    Raises:
        FormatError: the metadata is damaged.
        UnsupportedModelError: it makes none.
    """
    arch = text_of(source.metadata, ARCHITECTURE) or ""
    is_encoder = gives_embeddings(arch, source.metadata)
    return pooling_of(Facts(arch, source.metadata), default=1 if is_encoder else 0)


def _named(model: ModelLike) -> object:
    return model if isinstance(model, str | os.PathLike) else "the model"


def _open_whole(model: ModelLike) -> ModelSource:
    """Open a whole model of text; errors as for `open_runnable`."""
    source, name = open_source(model), _named(model)
    if not source.tensors:
        raise UnsupportedModelError(
            f"{name} has no tensors, only a vocabulary or metadata; give a whole model"
        )
    metadata = source.metadata
    is_mmproj = text_of(metadata, "general.type") == "mmproj"
    if is_mmproj or text_of(metadata, ARCHITECTURE) == "clip":
        raise UnsupportedModelError(
            f"{name} is the part of a model that reads images or sound (mmproj), which "
            "has no text to predict; give the file of the language model"
        )
    return source


def _gguf_model(path: Path) -> GGUFFile:
    file = GGUFFile(path)
    kind = text_of(file.metadata, "general.type")
    if kind in NO_MODELS:
        raise UnsupportedModelError(f"{path} is {NO_MODELS[kind]}")
    return file
