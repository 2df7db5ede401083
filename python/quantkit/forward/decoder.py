"""The decoder that families share: layers of attention and feed forward.

Which tensors a layer has decides most of what it is: a norm before a part, after it,
or both; fused or separate projections; biases.  What tensors cannot tell is in the
family's `Traits`.
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
        attention_norm: of what attention reads; None: it reads the layer's input.
        attention_out_norm: of what attention gives.
        feed_forward_norm, feed_forward_out_norm: likewise; of parallel parts, the feed
            forward without a norm of its own reads what attention reads.
        parallel: both parts read the layer's input.
        residual_scale: of what each part adds.
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
    """A runnable model; see `base.Model`.

    Attributes:
        embedding: of tokens.
        embedding_scale: what it is multiplied by.
        embedding_norm: of what comes out.
        positions: an embedding of positions, added to it.
        layers: in order.
        output_norm: of what comes out of the last.
        head: the output head.
    """

    embedding: Matrix
    layers: tuple[Layer, ...]
    output_norm: Norm | None
    head: Head
    embedding_scale: float = 1.0
    embedding_norm: Norm | None = None
    positions: Matrix | None = None

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states, after the last norm, of one sequence: [n, width]."""
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
    """The decoder that GGUF metadata and tensors describe.

    Args:
        facts: the metadata.
        weights: the tensors.
        traits: what the family says of it.
        layer: loads one layer; None: `load_layer`.

    Raises:
        FormatError: a key or a tensor is missing.
        UnsupportedModelError: a kind of model that quantkit cannot run.
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
    """Layer `number` of a decoder, with the attention that `attention` loads."""
    at = f"blk.{number}."
    attention_norm = _norm_before(weights, f"{at}attn_norm", traits)
    feed_forward_norm = _norm_before(weights, f"{at}ffn_norm", traits)
    if f"{at}attn_norm_2.weight" in weights:  # Falcon's names, where there are two
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
    """The norm of what a part or the head reads, which may have no weights."""
    if traits.unweighted_norms:
        return Norm(None, None, traits.epsilon, traits.centered)
    return _norm(weights, name, traits)
