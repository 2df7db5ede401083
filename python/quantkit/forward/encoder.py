"""Encoders: models of whole texts, which give an embedding and predict no tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from ..settings import SIZE, checked, integer
from .attention import load_attention
from .base import F32, Model
from .claims import Claims
from .decoder import MixerLoader, Wrap, stack_parts
from .facts import Facts
from .feed_forward import load_feed_forward
from .kept import Kept, State
from .layer import InTwoSteps, Mixer, Part
from .layers import Linear, Norm
from .sizes import Size
from .stack import Stack
from .traits import Traits

__all__ = [
    "OUTPUT_SIZE",
    "POOLINGS",
    "Embedder",
    "Encoder",
    "Pooled",
    "PostNorm",
    "embedder_of",
    "load_encoder",
    "pooling_of",
    "post_normed",
]

Tokens = NDArray[np.integer[Any]]

POOLINGS = ("none", "mean", "cls", "last", "rank")
"""How an embedding is made of the hidden states, by `pooling_type`."""
N_TYPES = "tokenizer.ggml.token_type_count"
OUTPUT_SIZE = "embedding_length_out"
CAUSAL, POOLING, TYPES = "attention.causal", "pooling_type", "token_types.weight"


class Embedder(Protocol):
    """A model that gives the embedding of a text; safe to call from several threads."""

    @property
    def pooling(self) -> str:
        """How it is made of the hidden states, one of `POOLINGS`."""

    def pooled(self, tokens: Tokens) -> F32:
        """The embedding of one sequence: f32 [components], not normalized."""


@dataclass(frozen=True, kw_only=True)
class Encoder(Stack):
    """A model that gives an embedding of a text, whose tokens see both sides.

    Attributes:
        pooling: one of `POOLINGS`.
        projections: linear maps of the pooled hidden states, one after the other.
    """

    pooling: str = "mean"
    projections: tuple[Linear, ...] = ()

    def pooled(self, tokens: Tokens) -> F32:
        """The embedding of one sequence: f32 [components], not normalized."""
        made = _pooled(self.hidden(tokens), self.pooling)
        for projection in self.projections:
            made = projection(made[None])[0]
        return made


@dataclass(frozen=True)
class Pooled:
    """A decoder whose hidden states make embeddings.

    Attributes:
        decoder: the model; its output head is not used.
        pooling: one of `POOLINGS`.
    """

    decoder: Model
    pooling: str

    def pooled(self, tokens: Tokens) -> F32:
        """The embedding of one sequence: f32 [width], not normalized."""
        return _pooled(self.decoder.hidden(tokens), self.pooling)


def _pooled(states: F32, pooling: str) -> F32:
    """Hidden states [n, width] -> [width].

    "mean" is the mean of all, "cls" the first and "last" the last one.
    """
    if pooling == "mean":
        mean: F32 = states.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean
    one: F32 = states[0 if pooling == "cls" else -1]
    return one


@dataclass(frozen=True)
class PostNorm(InTwoSteps):
    """A layer whose norms come after the sums of its parts, as in BERT.

    Attributes:
        mixer, feed_forward: its two parts.
        mixer_norm, feed_forward_norm: the norms of the sums.
        second_norm: of the first norm's output and the layer's input, if there is one.
    """

    mixer: Mixer
    feed_forward: Part
    mixer_norm: Norm
    feed_forward_norm: Norm
    second_norm: Norm | None = None

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.mixer.kept

    def alone(self) -> PostNorm:
        """The layer for rows that are sequences of one token each."""
        return replace(self, mixer=self.mixer.alone())

    def _mixed(self, x: F32) -> F32:
        y = self.mixer_norm(x + self.mixer(x))
        return y if self.second_norm is None else self.second_norm(x + y)

    def _fed_forward(self, x: F32) -> F32:
        return self.feed_forward_norm(x + self.feed_forward(x))


def post_normed(facts: Facts, claims: Claims, traits: Traits) -> Wrap:
    """Makes `PostNorm` of layers, with the norms that BERT's tensors have."""

    def norm(number: int, name: str) -> Norm:
        at, bias = f"blk.{number}.{name}", traits.layout.norm_bias
        made = Norm.of(claims, at, (facts.width,), traits, bias=bias)
        assert made is not None
        return made

    def wrap(layer: Any, number: int) -> PostNorm:
        second = None
        if f"blk.{number}.attn_norm_2.weight" in claims:
            second = norm(number, "attn_norm_2")
        return PostNorm(
            layer.mixer,
            layer.feed_forward,
            norm(number, "attn_output_norm"),
            norm(number, "layer_output_norm"),
            second,
        )

    return wrap


def load_encoder(
    facts: Facts,
    claims: Claims,
    traits: Traits,
    wrap: Wrap = lambda layer, _: layer,
    *,
    mixer: MixerLoader = load_attention,
    causal: bool = True,
) -> Encoder:
    """Build an encoder from GGUF metadata and tensors.

    All tokens are of the first type: one text, not the second of a pair.

    Args:
        facts: the metadata; without `pooling_type`, the mean is taken.
        claims: the tensors.
        traits: the family's traits.
        wrap: makes a family's own layer of a layer and its number.
        mixer: loads the part of a layer that mixes positions.
        causal: what readers assume if the metadata does not say.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
        UnsupportedModelError: the model ranks texts, pools in no way, or is causal.
    """
    if facts.flag(CAUSAL, causal):
        raise UnsupportedModelError(
            f"{facts.key(CAUSAL)} is not false, so readers let tokens see only earlier "
            "ones; quantkit's forward pass of encoders lets them see all"
        )
    pooling = pooling_of(facts, default=1)
    parts = stack_parts(facts, claims, traits, mixer, load_feed_forward, wrap)
    return Encoder(**parts, offset=_first_type(facts, claims), pooling=pooling)


def pooling_of(facts: Facts, default: int = 0) -> str:
    """How the metadata says that embeddings are made: "mean", "cls" or "last".

    Args:
        facts: the metadata.
        default: the number of the pooling if the metadata has none.

    Raises:
        FormatError: `pooling_type` is out of range.
        UnsupportedModelError: the model gives no embedding of a text.
    """
    kinds = integer(0, len(POOLINGS) - 1)
    pooling = POOLINGS[facts.count(POOLING, default, kinds)]
    if pooling in ("none", "rank"):
        raise UnsupportedModelError(
            f"{facts.key(POOLING)} is {pooling!r}: the model gives no embedding of a "
            "text, which is what quantkit measures of encoders"
        )
    return pooling


def embedder_of(model: Model, facts: Facts) -> Embedder:
    """A decoder as a model that gives embeddings.

    Raises:
        FormatError: as for `pooling_of`.
        UnsupportedModelError: as for `pooling_of`, or a linear map comes after it.
    """
    pooling = pooling_of(facts)
    if OUTPUT_SIZE in facts:
        raise UnsupportedModelError(
            f"the metadata has {facts.key(OUTPUT_SIZE)}: a linear map comes after the "
            "pooling, which quantkit's forward pass of this architecture does not apply"
        )
    return Pooled(model, pooling)


def _first_type(facts: Facts, claims: Claims) -> F32 | None:
    """The embedding of the first token type: f32 [width]; None: there are no types.

    Raises:
        FormatError: there are more or fewer types than the metadata says.
    """
    shape = claims.shapes.get(TYPES)
    if shape is None:
        return None
    n_types = Size(shape[0], TYPES)
    if (stated := facts.metadata.get(N_TYPES)) is not None:
        n_types = Size(checked(stated.value, SIZE, N_TYPES), N_TYPES)
    rows = claims.table(TYPES, n_types, facts.width).rows(np.zeros(1, int))
    return rows.reshape(-1)
