"""Build a model from GGUF metadata and tensors, by its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from ..errors import UnsupportedModelError
from ..forward.base import Model, Weights
from ..forward.claims import Claims
from ..forward.encoder import Embedder, Encoder, embedder_of
from ..forward.facts import Facts
from ..forward.kept import Kept, State
from ..forward.outline import Outline
from ..forward.unread_settings import refuse_foreign_tokens, refuse_unread_settings
from ..gguf.keys import Field
from .encoders import EncoderFamily
from .families import family_named, gives_embeddings
from .family import Family

__all__ = [
    "check_model",
    "kept_by_model",
    "load_embedder",
    "load_encoder",
    "load_model",
]

Loaded = TypeVar("Loaded")

ROTATED = "prism.hadamard."
"""Keys of models whose weights have been rotated, whatever their types are."""


def load_model(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Model:
    """Build the model from GGUF metadata and tensors.

    Args:
        metadata: typed metadata by GGUF key.
        arch: the architecture.
        weights: the tensors.
        shapes: their shapes by name, outermost axis first.

    Raises:
        FormatError: a key or a tensor is missing, has another shape or is left over.
        UnsupportedModelError: quantkit cannot run this model.
    """
    if any(key.startswith(ROTATED) for key in metadata):
        raise UnsupportedModelError(
            f"the metadata has {ROTATED}* keys: the weights are for activations that "
            "went through a Hadamard transform, which PrismML's branch of llama.cpp "
            "does; without it they give garbage"
        )

    def loader(family: Family) -> Callable[[Facts, Claims], Model]:
        return partial(Family.load, family) if family.not_run else family.load

    return _loaded(metadata, arch, weights, shapes, loader)


def load_encoder(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Encoder:
    """Build an encoder; arguments and errors as for `load_model`.

    Raises:
        UnsupportedModelError: the model predicts text.
    """

    def loader(family: Family) -> Callable[[Facts, Claims], Encoder]:
        if not isinstance(family, EncoderFamily):
            raise UnsupportedModelError(
                f"{arch} models predict text and give no embedding of it"
            )
        return family.load_encoder

    return _loaded(metadata, arch, weights, shapes, loader)


def load_embedder(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Embedder:
    """Build an encoder, or a decoder whose metadata says how it makes embeddings.

    Arguments and errors as for `load_model`.
    """
    if gives_embeddings(arch, metadata):
        return load_encoder(metadata, arch, weights, shapes)
    model = load_model(metadata, arch, weights, shapes)
    return embedder_of(model, Facts(arch, metadata))


def _loaded(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
    loader: Callable[[Family], Callable[[Facts, Claims], Loaded]],
) -> Loaded:
    """What a family's loader makes; nothing may be left over."""
    family, facts = family_named(arch, metadata), Facts(arch, metadata)
    load = loader(family)
    if not family.not_run:
        refuse_unread_settings(facts, family.reads)
        refuse_foreign_tokens(facts)
    claims = Claims(weights, shapes)
    made = load(facts, claims)
    further = range(facts.n_layers, facts.n_blocks)
    claims.refuse_unlike_layers()
    claims.refuse_left_over(arch, family.unread, further)
    return made


def kept_by_model(
    metadata: Mapping[str, Field], arch: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Kept | State, ...]:
    """What a model keeps of a sequence for the next token, by its shapes alone.

    Raises:
        FormatError, UnsupportedModelError: as for `load_model`.
    """
    return load_model(metadata, arch, Outline(shapes), shapes).kept


def check_model(
    metadata: Mapping[str, Field], arch: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a model that could not be run, by the shapes of its tensors alone.

    Raises:
        FormatError: as for `load_model`.
        UnsupportedModelError: quantkit cannot run this model.
    """
    load = load_encoder if gives_embeddings(arch, metadata) else load_model
    load(metadata, arch, Outline(shapes), shapes)
