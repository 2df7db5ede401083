"""Hyper-connections: several residual streams instead of one.

Before each part of a layer, the streams are weighed and summed to the part's input.
After it, they are mixed, and the part's output is added to each with a weight.  All
these weights follow from the streams.  The mixing matrix is made doubly stochastic, so
that the streams do not grow (manifold-constrained hyper-connections, arXiv:2512.24880).
In some models the streams are not mixed (independent hyper-connections).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layer import InTwoSteps, Mixer, Sequential
from .layers import Linear, Norm, normed
from .sizes import Size

__all__ = ["HyperConnection", "HyperHead", "HyperLayer", "Streams", "load_hyper_layer"]

COUNT = "hyper_connection.count"
ROUNDS = "hyper_connection.sinkhorn_iterations"
EPSILON = "hyper_connection.epsilon"
MAGNITUDE = "hyper_connection.magnitude"

Fed = Callable[[F32, F32], F32]
"""A part: its input [n, width] and the columns after the streams -> [n, width]."""


@dataclass(frozen=True)
class Streams:
    """How many streams there are, and how wide they are.

    In an array of the streams' columns, a stream comes after the other, and then
    further columns that layers hand on unchanged.

    Attributes:
        count: the number of streams.
        width: the size of each.
        norm_epsilon: the epsilon of the norm of all streams together.
        epsilon: added to weights, and to sums before dividing by them.
        rounds: how often rows and columns of the mixing matrix are normalized; None:
            there is none, and parts add to the streams as they are.
        with_tokens: whether the tokens' numbers are the last column.
        magnitude: the largest weight of a part's output.
    """

    count: Size
    width: Size
    norm_epsilon: float
    epsilon: float
    rounds: int | None
    with_tokens: bool
    magnitude: float = 2.0

    @classmethod
    def load(cls, facts: Facts, *, with_tokens: bool) -> Streams:
        """The streams that the metadata describes."""
        return cls(
            count=facts.size(COUNT),
            width=facts.width,
            norm_epsilon=facts.rms_epsilon,
            epsilon=facts.number(EPSILON),
            rounds=int(facts.size(ROUNDS)),
            with_tokens=with_tokens,
        )

    @classmethod
    def load_independent(cls, facts: Facts) -> Streams:
        """Streams that are not mixed."""
        return cls(
            count=facts.size(COUNT),
            width=facts.width,
            norm_epsilon=facts.rms_epsilon,
            epsilon=facts.number(EPSILON),
            rounds=None,
            with_tokens=False,
            magnitude=facts.number(MAGNITUDE),
        )

    @property
    def n_weights(self) -> Size:
        """The number of weights around a part of a layer."""
        return (2 if self.rounds is None else 2 + self.count) * self.count

    @property
    def columns(self) -> int:
        """See `Opening.columns`."""
        return int(self.count * self.width) + self.with_tokens

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """All streams start as the embedded tokens; see `Opening`."""
        parts = [x] * int(self.count)
        if self.with_tokens:
            parts.append(tokens[:, None].astype(np.float32))
        return np.concatenate(parts, axis=-1)

    def split(self, columns: F32) -> tuple[F32, F32]:
        """The streams [n, count, width], and the columns after them."""
        size = self.count * self.width
        streams = columns[:, :size].reshape(len(columns), self.count, self.width)
        return streams, columns[:, size:]

    def mean(self, columns: F32) -> F32:
        """The hidden states [n, width]: all streams weigh the same."""
        x, _ = self.split(columns)
        share = np.float32(1 / x.shape[1])
        return _summed(np.full_like(x, share, shape=x.shape[:2]), x)

    def normed(self, streams: F32) -> F32:
        """All streams of a position as one normalized vector."""
        flat = streams.reshape(len(streams), -1)
        return ops.rms_norm(flat, None, self.norm_epsilon)


def _summed(weights: F32, streams: F32) -> F32:
    """Streams [n, count, width] times weights [n, count], summed: [n, width]."""
    total = weights[:, 0, None] * streams[:, 0]
    for i in range(1, streams.shape[1]):
        total += weights[:, i, None] * streams[:, i]
    return total


@dataclass(frozen=True)
class HyperConnection:
    """The weights around one part of a layer.

    Attributes:
        streams: what it works on.
        weights: gives the weights, of all streams as one normalized vector: those of
            the part's input, of its output, and the mixing matrix if there is one.
        scale: multiplies each of the kinds of weights.
        base: added to them.
    """

    streams: Streams
    weights: Linear
    scale: F32
    base: F32

    @classmethod
    def load(cls, claims: Claims, at: str, streams: Streams) -> HyperConnection:
        """The tensors whose names start with `at`."""
        n_weights, n_kinds = streams.n_weights, 2 if streams.rounds is None else 3
        size = streams.count * streams.width
        return cls(
            streams=streams,
            weights=Linear.of(claims, f"{at}_fn", n_weights, size),
            scale=claims.vector(f"{at}_scale.weight", n_kinds),
            base=claims.vector(f"{at}_base.weight", n_weights),
        )

    def around(self, columns: F32, part: Fed) -> F32:
        """The streams after the part, from those before it: [n, columns]."""
        x, rest = self.streams.split(columns)
        before, after, mixing = self._all_weights(x)
        y = part(_summed(before, x), rest)
        mixed = [
            (x[:, i] if mixing is None else _summed(mixing[:, :, i], x))
            + after[:, i, None] * y
            for i in range(x.shape[1])
        ]
        return np.concatenate([*mixed, rest], axis=-1)

    def _all_weights(self, x: F32) -> tuple[F32, F32, F32 | None]:
        """Weights of the input and the output [n, count], the mixing matrix."""
        count, epsilon = int(self.streams.count), np.float32(self.streams.epsilon)
        ends = (count, 2 * count)[: len(self.scale) - 1]
        parts = np.split(self.weights(self.streams.normed(x)), ends, axis=-1)
        bases = np.split(self.base, ends)
        before, after, *mixing = (
            part * scale + base
            for part, scale, base in zip(parts, self.scale, bases, strict=True)
        )
        before = ops.sigmoid(before) + epsilon
        after = np.float32(self.streams.magnitude) * ops.sigmoid(after)
        if self.streams.rounds is None:
            return before, after + epsilon, None
        matrix = mixing[0].reshape(-1, count, count)
        return before, after, self._balanced(matrix, self.streams.rounds)

    def _balanced(self, mixing: F32, rounds: int) -> F32:
        """Matrices whose rows and columns sum to 1, [n, from, to] (Sinkhorn-Knopp)."""
        epsilon = np.float32(self.streams.epsilon)
        mixing = np.exp(mixing - mixing.max(axis=-1, keepdims=True))
        mixing /= mixing.sum(axis=-1, keepdims=True)
        mixing += epsilon
        mixing /= mixing.sum(axis=-2, keepdims=True) + epsilon
        for _ in range(rounds - 1):
            mixing /= mixing.sum(axis=-1, keepdims=True) + epsilon
            mixing /= mixing.sum(axis=-2, keepdims=True) + epsilon
        return mixing


@dataclass(frozen=True)
class HyperHead:
    """Sums the streams after the last layer.

    Attributes:
        streams, weights, scale, base: as in `HyperConnection`, but the weights are only
            those of the sum.
    """

    streams: Streams
    weights: Linear
    scale: F32
    base: F32

    @classmethod
    def load(cls, claims: Claims, streams: Streams) -> HyperHead:
        """The tensors of the head."""
        size = streams.count * streams.width
        return cls(
            streams=streams,
            weights=Linear.of(claims, "output_hc_fn", streams.count, size),
            scale=claims.vector("output_hc_scale.weight", 1),
            base=claims.vector("output_hc_base.weight", streams.count),
        )

    def __call__(self, columns: F32) -> F32:
        """The hidden states [n, width] of the last layer's columns."""
        x, _ = self.streams.split(columns)
        weights = self.weights(self.streams.normed(x)) * self.scale + self.base
        return _summed(ops.sigmoid(weights) + np.float32(self.streams.epsilon), x)


@dataclass(frozen=True)
class HyperLayer(InTwoSteps):
    """A layer on several streams; see `layer.Layer`.

    Attributes:
        mixer, feed_forward: its two parts.
        mixer_norm, feed_forward_norm: the norms of their inputs.
        around_mixer, around_feed_forward: the connections around them.
        by_token: whether the feed-forward part also gets the tokens' numbers.
    """

    mixer: Mixer
    feed_forward: Callable[..., F32]
    mixer_norm: Norm | None
    feed_forward_norm: Norm | None
    around_mixer: HyperConnection
    around_feed_forward: HyperConnection
    by_token: bool = False

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.mixer.kept

    def alone(self) -> HyperLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, mixer=self.mixer.alone())

    def _mixed(self, columns: F32) -> F32:
        def part(x: F32, rest: F32) -> F32:
            return self.mixer(normed(x, self.mixer_norm))

        return self.around_mixer.around(columns, part)

    def _fed_forward(self, columns: F32) -> F32:
        def part(x: F32, rest: F32) -> F32:
            x = normed(x, self.feed_forward_norm)
            if not self.by_token:
                return self.feed_forward(x)
            return self.feed_forward(x, rest[:, -1].astype(np.intp))

        return self.around_feed_forward.around(columns, part)


def load_hyper_layer(
    claims: Claims,
    layer: Sequential,
    number: int,
    streams: Streams,
    *,
    by_token: bool = False,
) -> HyperLayer:
    """Layer `number`, from its parts and the tensors of its connections."""
    assert layer.mixer is not None
    assert layer.feed_forward is not None
    at = f"blk.{number}.hc"
    return HyperLayer(
        mixer=layer.mixer,
        feed_forward=layer.feed_forward,
        mixer_norm=layer.mixer_norm,
        feed_forward_norm=layer.feed_forward_norm,
        around_mixer=HyperConnection.load(claims, f"{at}_attn", streams),
        around_feed_forward=HyperConnection.load(claims, f"{at}_ffn", streams),
        by_token=by_token,
    )
