"""The decoder that families share: layers of attention and feed-forward parts.

Most differences between models follow from which tensors exist: norms before or after
a part, fused or separate projections, biases.  The rest is in the family's `Traits`.
Source of the tensor names: the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import load_attention
from .base import F32, Matrix, Weights
from .facts import Facts
from .feed_forward import load_feed_forward
from .layers import Head, Linear, Norm
from .traits import Traits

__all__ = ["Decoder", "Layer", "load_decoder", "load_layer"]

Part = Callable[[F32], F32]


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

    attention: Part
    feed_forward: Part
    attention_norm: Norm | None
    attention_out_norm: Norm | None
    feed_forward_norm: Norm | None
    feed_forward_out_norm: Norm | None
    parallel: bool = False
    residual_scale: float = 1.0

    def __call__(self, x: F32) -> F32:
        """x [n, width] -> [n, width]."""
        if self.parallel:
            inside = _normed(x, self.attention_norm)
            beside = inside
            if self.feed_forward_norm is not None:
                beside = self.feed_forward_norm(x)
            return x + self._scaled(self.attention(inside) + self.feed_forward(beside))
        y = self.attention(_normed(x, self.attention_norm))
        x = x + self._scaled(_normed(y, self.attention_out_norm))
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
        x = self.embedding.rows(tokens)
        if self.embedding_scale != 1:
            x *= np.float32(self.embedding_scale)
        if self.positions is not None:
            x += self.positions.rows(np.arange(len(tokens)))
        x = _normed(x, self.embedding_norm)
        for layer in self.layers:
            x = layer(x)
        return _normed(x, self.output_norm)


def load_decoder(
    facts: Facts,
    weights: Weights,
    traits: Traits,
    layer: Callable[[Facts, Weights, int, Traits], Layer] | None = None,
) -> Decoder:
    """Build a decoder from GGUF metadata and tensors.

    Args:
        facts: the metadata.
        weights: the tensors.
        traits: the family's traits.
        layer: loads one layer; None: `load_layer`.

    Raises:
        FormatError: a key or a tensor is missing.
        UnsupportedModelError: quantkit cannot run this model.
    """
    load = layer or load_layer
    n_layers = facts.count("block_count")
    head = "output" if "output.weight" in weights else "token_embd"
    positions = "position_embd.weight"
    return Decoder(
        embedding=weights.matrix("token_embd.weight"),
        layers=tuple(load(facts, weights, i, traits) for i in range(n_layers)),
        output_norm=_norm_before(weights, "output_norm", traits),
        head=Head(
            Linear(
                weights.matrix(f"{head}.weight"),
                weights.vector("output.bias") if "output.bias" in weights else None,
            ),
            traits.logit_scale,
            traits.logit_cap,
        ),
        embedding_scale=traits.embedding_scale,
        embedding_norm=_norm(weights, "token_embd_norm", traits),
        positions=weights.matrix(positions) if positions in weights else None,
    )


def load_layer(
    facts: Facts,
    weights: Weights,
    number: int,
    traits: Traits,
    attention: Callable[[Facts, Weights, int, Traits], Part] = load_attention,
) -> Layer:
    """Load layer `number`, with `attention` to load its attention part."""
    at = f"blk.{number}."
    attention_norm = _norm_before(weights, f"{at}attn_norm", traits)
    feed_forward_norm = _norm_before(weights, f"{at}ffn_norm", traits)
    if f"{at}attn_norm_2.weight" in weights:  # Falcon's names if there are two norms
        feed_forward_norm = attention_norm
        attention_norm = _norm(weights, f"{at}attn_norm_2", traits)
    return Layer(
        attention=attention(facts, weights, number, traits),
        feed_forward=load_feed_forward(weights, number, traits),
        attention_norm=attention_norm,
        attention_out_norm=_norm(weights, f"{at}post_attention_norm", traits),
        feed_forward_norm=feed_forward_norm,
        feed_forward_out_norm=_norm(weights, f"{at}post_ffw_norm", traits),
        parallel=traits.parallel,
        residual_scale=traits.residual_scale,
    )


def _norm(weights: Weights, name: str, traits: Traits) -> Norm | None:
    return Norm.of(weights, name, traits.epsilon, centered=traits.centered)


def _norm_before(weights: Weights, name: str, traits: Traits) -> Norm | None:
    """The norm of the input of a part or the head; it may have no weights."""
    if traits.unweighted_norms:
        return Norm(None, None, traits.epsilon, traits.centered)
    return _norm(weights, name, traits)
