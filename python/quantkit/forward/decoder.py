"""The decoder that families share: layers of attention and feed-forward parts.

The differences between models are in the family's `Traits` and `Layout`: norms before
or after a part, fused or separate projections, biases.
Source of the tensor names: the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .attention import load_attention
from .base import F32, Matrix
from .claims import Claims, Presence
from .facts import Facts
from .feed_forward import load_feed_forward
from .layers import Head, Linear, Norm
from .sizes import Size
from .traits import Traits

__all__ = ["AttentionPart", "Decoder", "Layer", "load_decoder", "vocabulary_size"]

Part = Callable[[F32], F32]
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
POSITIONS = "position_embd.weight"


class AttentionPart(Protocol):
    """The attention of a layer."""

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""

    def alone(self) -> AttentionPart:
        """The same, with each position seeing only itself."""


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        attention, feed_forward: its two parts.
        attention_norm: the norm of attention's input; None: no norm.
        attention_out_norm: the norm of attention's output.
        feed_forward_norm, feed_forward_out_norm: the same for the feed-forward part.
            With `parallel` and no `feed_forward_norm`, both parts share
            `attention_norm`.
        parallel: both parts read the layer's input, instead of one after the other.
        residual_scale: multiplies what each part adds.
    """

    attention: AttentionPart
    feed_forward: Part
    attention_norm: Norm | None
    attention_out_norm: Norm | None
    feed_forward_norm: Norm | None
    feed_forward_out_norm: Norm | None
    parallel: bool = False
    residual_scale: float = 1.0

    def __call__(self, x: F32) -> F32:
        """x [n, width] -> [n, width]."""
        for step in self.steps:
            x = step(x)
        return x

    @property
    def steps(self) -> tuple[Part, ...]:
        """The functions whose composition the layer is; each adds to what it gets."""
        if self.parallel:
            return (self._both,)
        return self._attended, self._fed_forward

    def alone(self) -> Layer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _both(self, x: F32) -> F32:
        inside = beside = _normed(x, self.attention_norm)
        if self.feed_forward_norm is not None:
            beside = self.feed_forward_norm(x)
        return x + self._scaled(self.attention(inside) + self.feed_forward(beside))

    def _attended(self, x: F32) -> F32:
        y = self.attention(_normed(x, self.attention_norm))
        return x + self._scaled(_normed(y, self.attention_out_norm))

    def _fed_forward(self, x: F32) -> F32:
        y = self.feed_forward(_normed(x, self.feed_forward_norm))
        return x + self._scaled(_normed(y, self.feed_forward_out_norm))

    def _scaled(self, x: F32) -> F32:
        return x if self.residual_scale == 1 else x * np.float32(self.residual_scale)


def _normed(x: F32, norm: Norm | None) -> F32:
    return x if norm is None else norm(x)


@dataclass(frozen=True)
class Decoder:
    """A decoder that implements `base.Model`.

    Attributes:
        embedding: the token embedding.
        layers: the layers in order.
        output_norm: the norm after the last layer.
        head: the output head.
        embedding_scale: multiplies the token embeddings.
        embedding_norm: the norm before the first layer.
        positions: a position embedding, added to the token embeddings.
    """

    embedding: Matrix
    layers: tuple[Layer, ...]
    output_norm: Norm | None
    head: Head
    embedding_scale: float = 1.0
    embedding_norm: Norm | None = None
    positions: Matrix | None = None

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states of one sequence, after the last norm: [n, width]."""
        x = self.embedded(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.finished(x)

    def embedded(self, tokens: NDArray[np.integer[Any]], *, alone: bool = False) -> F32:
        """The input of the first layer: [n, width].

        Args:
            tokens: one sequence [n].
            alone: the tokens are sequences of one token each; see `Layer.alone`.

        Raises:
            ShapeError: the sequence is longer than the position embedding.
        """
        n = len(tokens)
        x = self.embedding.rows(tokens)
        if self.embedding_scale != 1:
            x *= np.float32(self.embedding_scale)
        if self.positions is not None:
            self._check_length(1 if alone else n)
            x += self.positions.rows(np.zeros(n, int) if alone else np.arange(n))
        return _normed(x, self.embedding_norm)

    def finished(self, x: F32) -> F32:
        """The input of the head, from the output of the last layer: [n, width]."""
        return _normed(x, self.output_norm)

    def _check_length(self, n: int) -> None:
        """Refuse a sequence that is longer than the position embedding."""
        if self.positions is not None and n > self.positions.shape[0]:
            raise ShapeError(
                f"a sequence of {n} tokens; the model has an embedding for each of "
                f"{self.positions.shape[0]} positions: use shorter sequences (`ctx`)"
            )


def load_decoder(
    facts: Facts,
    claims: Claims,
    traits: Traits,
    attention: Callable[[Facts, Claims, int, Traits], AttentionPart] = load_attention,
) -> Decoder:
    """Build a decoder from GGUF metadata and tensors.

    Args:
        facts: the metadata.
        claims: the tensors.
        traits: the family's traits.
        attention: loads the attention part of a layer.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
        UnsupportedModelError: quantkit cannot run this model.
    """
    layout, width = traits.layout, facts.width
    n_tokens = vocabulary_size(facts, claims)
    embedding = claims.table(EMBEDDING, n_tokens, width)
    return Decoder(
        embedding=embedding,
        layers=tuple(
            _load_layer(facts, claims, i, traits, attention)
            for i in range(facts.n_layers)
        ),
        output_norm=_norm_before(claims, "output_norm", width, traits),
        head=Head(
            Linear(
                _head_matrix(claims, embedding, (n_tokens, width), traits),
                claims.maybe(layout.head_bias, "output.bias", n_tokens),
            ),
            traits.logit_scale,
            traits.logit_cap,
        ),
        embedding_scale=traits.embedding_scale,
        embedding_norm=_norm(
            claims, "token_embd_norm", width, traits, layout.embedding_norm
        ),
        positions=_positions(facts, claims, layout.positions),
    )


def vocabulary_size(facts: Facts, claims: Claims) -> Size:
    """The number of tokens: that of the vocabulary, else of the token embedding."""
    if facts.vocabulary is not None:
        return facts.vocabulary
    shape = claims.shapes.get(EMBEDDING, ())
    return Size(math.prod(shape[:-1]), EMBEDDING)


def _head_matrix(
    claims: Claims, embedding: Matrix, shape: tuple[Size, Size], traits: Traits
) -> Matrix:
    """The matrix of the output head, which may be the token embedding."""
    presence = traits.layout.head
    if presence == "none" or (presence == "optional" and OUTPUT not in claims):
        return embedding
    return claims.matrix(OUTPUT, *shape)


def _positions(facts: Facts, claims: Claims, presence: Presence) -> Matrix | None:
    """The position embedding, which has a row for each position of the context."""
    if presence == "none" or (presence == "optional" and POSITIONS not in claims):
        return None
    return claims.table(POSITIONS, facts.size("context_length"), facts.width)


def _load_layer(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    attention: Callable[[Facts, Claims, int, Traits], AttentionPart],
) -> Layer:
    """Layer `number`, with `attention` to load its attention part."""
    at, layout, width = f"blk.{number}.", traits.layout, facts.width
    attention_norm = _norm_before(claims, f"{at}attn_norm", width, traits, layout.norms)
    feed_forward_norm = _norm_before(
        claims,
        f"{at}{layout.feed_forward_norm_name}",
        width,
        traits,
        layout.feed_forward_norm,
    )
    second = _norm(claims, f"{at}attn_norm_2", width, traits, layout.second_norm)
    if second is not None:
        attention_norm, feed_forward_norm = second, attention_norm
    after, output_norms = f"{at}post_", layout.output_norms
    return Layer(
        attention=attention(facts, claims, number, traits),
        feed_forward=load_feed_forward(facts, claims, number, traits),
        attention_norm=attention_norm,
        attention_out_norm=_norm(
            claims, f"{after}attention_norm", width, traits, output_norms
        ),
        feed_forward_norm=feed_forward_norm,
        feed_forward_out_norm=_norm(
            claims, f"{after}ffw_norm", width, traits, output_norms
        ),
        parallel=traits.parallel,
        residual_scale=traits.residual_scale,
    )


def _norm(
    claims: Claims, name: str, width: int, traits: Traits, presence: Presence
) -> Norm | None:
    bias = traits.layout.norm_bias
    return Norm.of(claims, name, (width,), traits, presence=presence, bias=bias)


def _norm_before(
    claims: Claims,
    name: str,
    width: int,
    traits: Traits,
    presence: Presence = "required",
) -> Norm | None:
    """The norm of the input of a part or the head; it may have no weights."""
    if traits.unweighted_norms:
        return Norm(None, None, traits.epsilon, traits.centered)
    return _norm(claims, name, width, traits, presence)
