"""T5's encoder: attention whose scores get a bias by the distance of key and query.

Source: T5, arXiv:1910.10683, section 2.1; the names of tensors from llama.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..settings import integer
from .base import F32, Activations
from .claims import Claims
from .decoder import vocabulary_size
from .encoder import Encoder
from .engines import Table
from .facts import Facts
from .feed_forward import Gated, Plain
from .kept import Kept, State
from .layer import Layer, Part, Sequential
from .layers import Linear, Norm, activation_named, gating_named
from .ops import contiguous, softmax
from .sequences import by_sequence
from .sizes import Size

__all__ = ["RelativeAttention", "buckets", "load_relative_encoder"]

MAX_DISTANCE = 128
"""All larger distances have one bias."""
BUCKETS = "attention.relative_buckets_count"
SOME = integer(4, 2 * MAX_DISTANCE - 2)
"""Numbers of buckets: with fewer or more, ranges of distances are empty."""


def buckets(n: int, n_buckets: int) -> NDArray[np.intp]:
    """Which bias the score of each query and key of a text gets: [n, n].

    Half of the buckets are for keys after the query.  In each half, one half is for
    short distances, and the other for ranges that grow exponentially.
    """
    half = n_buckets // 2
    exact = half // 2
    position = np.arange(n)
    ahead = position[None, :] - position[:, None]
    distance = np.abs(ahead)
    ratio = np.maximum(distance, exact).astype(np.float32) / np.float32(exact)
    share = np.log(ratio) / np.float32(math.log(MAX_DISTANCE / exact))
    share *= np.float32(half - exact)
    far = np.minimum(exact + share.astype(np.intp), half - 1)
    found: NDArray[np.intp] = np.where(distance < exact, distance, far)
    return found + half * (ahead > 0)


PLACES = Table(buckets)


@dataclass(frozen=True)
class RelativeAttention:
    """Attention of all positions to all, with biased scores that are not scaled.

    Attributes:
        q, k, v, output: the projections.
        n_heads: the number of heads.
        bias: f32 [buckets, heads].
        is_alone: each position is a sequence.
    """

    q: Linear
    k: Linear
    v: Linear
    output: Linear
    n_heads: int
    bias: F32
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        if self.is_alone:
            return self.output(self.v(shared))
        parts = (part(shared) for part in (self.q, self.k, self.v))
        return self.output(by_sequence(self._mixed, *parts))

    def _mixed(self, q: F32, k: F32, v: F32) -> F32:
        """What the queries of a sequence get of the values: [n, heads * size]."""
        places = PLACES.beside(q, len(q), len(self.bias))
        q, k, v = (self._heads(each) for each in (q, k, v))
        scores = q @ k.transpose(0, 2, 1)
        scores += self.bias[places].transpose(2, 0, 1)
        mixed = (softmax(scores) @ v).transpose(1, 0, 2)
        return contiguous(mixed).reshape(mixed.shape[0], -1)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `layer.Mixer.kept`."""
        return ()

    def alone(self) -> RelativeAttention:
        """The same, with each position seeing only itself."""
        return replace(self, is_alone=True)

    def _heads(self, x: F32) -> F32:
        """x [n, heads * size] -> [heads, n, size]."""
        heads: F32 = x.reshape(len(x), self.n_heads, -1).transpose(1, 0, 2)
        return heads


def load_relative_encoder(facts: Facts, claims: Claims, pooling: str) -> Encoder:
    """Build T5's encoder from GGUF metadata and tensors.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    width, epsilon = facts.width, facts.rms_epsilon

    def norm(name: str) -> Norm:
        weight = claims.vector(f"{name}.weight", width)
        return Norm(weight, None, epsilon, centered=False)

    first = _bias(facts, claims, 0)

    def layer(number: int) -> Layer:
        at = f"enc.blk.{number}."
        has_own = number > 0 and f"{at}attn_rel_b.weight" in claims
        bias = _bias(facts, claims, number) if has_own else first
        return Sequential(
            mixer=_attention(facts, claims, number, bias),
            feed_forward=_feed_forward(facts, claims, number),
            mixer_norm=norm(f"{at}attn_norm"),
            mixer_out_norm=None,
            feed_forward_norm=norm(f"{at}ffn_norm"),
            feed_forward_out_norm=None,
        )

    n_tokens = vocabulary_size(facts, claims)
    return Encoder(
        embedding=claims.table("token_embd.weight", n_tokens, width),
        layers=tuple(layer(number) for number in range(facts.n_layers)),
        output_norm=norm("enc.output_norm"),
        pooling=pooling,
    )


def _bias(facts: Facts, claims: Claims, number: int) -> F32:
    """The bias of a layer's scores: f32 [buckets, heads]."""
    n_buckets = Size(facts.count(BUCKETS, None, SOME), facts.key(BUCKETS))
    claims.refuse_larger(n_buckets)
    name, n_heads = f"enc.blk.{number}.attn_rel_b.weight", facts.n_heads(number)
    return claims.vector(name, n_buckets, n_heads).reshape(n_buckets, n_heads)


def _attention(
    facts: Facts, claims: Claims, number: int, bias: F32
) -> RelativeAttention:
    """The attention of layer `number`; each head has keys of its own."""
    at, n_heads = f"enc.blk.{number}.attn", facts.n_heads(number)
    size, width = n_heads * facts.key_size, facts.width
    return RelativeAttention(
        q=Linear.of(claims, f"{at}_q", size, width),
        k=Linear.of(claims, f"{at}_k", size, width),
        v=Linear.of(claims, f"{at}_v", size, width),
        output=Linear.of(claims, f"{at}_o", width, size),
        n_heads=n_heads,
        bias=bias,
    )


def _feed_forward(facts: Facts, claims: Claims, number: int) -> Part:
    """The feed-forward part of layer `number`; one with a gate has another function."""
    at, width = f"enc.blk.{number}.ffn", facts.width
    inner = facts.inner_size(number)
    up = Linear.of(claims, f"{at}_up", inner, width)
    down = Linear.of(claims, f"{at}_down", width, inner)
    if f"{at}_gate.weight" not in claims:
        return Plain(up, down, activation_named("relu"))
    gate = Linear.of(claims, f"{at}_gate", inner, width)
    return Gated(gate, up, down, gating_named("gelu_tanh"))
