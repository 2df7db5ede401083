"""Kimi K3's residual streams: parts read a mixture of what earlier layers left.

Every so many layers the stream is put aside and starts anew from the output of the
layer's attention.  The input of each part is a mean of all streams that were put aside
and of the present one.  Their weights are softmaxed scores: the product of the
normalized stream and a vector of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layer import InTwoSteps, Mixer, Part, Sequential
from .layers import Norm, normed
from .ops import contiguous, rms_norm, softmax

__all__ = ["AttendedLayer", "StreamMean", "Streams", "load_attended", "load_streams"]

BLOCK = "attn_res.block_size"


@dataclass(frozen=True)
class StreamMean:
    """The mean of streams, as a part sees it.

    Attributes:
        scores: [width], what the normalized streams are multiplied by.
        epsilon: of their norm.
    """

    scores: F32
    epsilon: float

    def __call__(self, present: F32, aside: list[F32]) -> F32:
        """The mean of streams of [n, width] each."""
        if not aside:
            return present
        streams = np.stack([*aside, present], axis=1)
        score = rms_norm(streams, None, self.epsilon) @ self.scores
        weight = softmax(score)
        mean: F32 = (weight[..., None] * streams).sum(axis=1)
        return mean


@dataclass(frozen=True)
class Streams:
    """The opening and the closing: the present stream, then those that were put aside.

    Attributes:
        width: of each stream.
        n_aside: the number of streams that are put aside.
        last: the mean that the output norm gets.
    """

    width: int
    n_aside: int
    last: StreamMean

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return self.width * (1 + self.n_aside)

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        return np.pad(x, ((0, 0), (0, self.columns - self.width)))

    def closing(self, x: F32) -> F32:
        """Hidden states [n, width] of the last layer's stream."""
        return self.last(*parted(x, self.width, self.n_aside))


def parted(x: F32, width: int, n_aside: int) -> tuple[F32, list[F32]]:
    """The present stream, and the first `n_aside` of those that were put aside."""
    parts = [x[:, i * width : (i + 1) * width] for i in range(1 + n_aside)]
    present, *aside = (contiguous(part) for part in parts)
    return present, aside


@dataclass(frozen=True)
class AttendedLayer(InTwoSteps):
    """One layer.

    Attributes:
        mixer, mixer_norm, feed_forward, feed_forward_norm: its parts and their norms.
        before_mixer, before_feed_forward: what they read.
        width: of each stream.
        n_aside: the number of streams that were put aside before the layer.
        puts_aside: whether the layer puts the present stream aside.
    """

    mixer: Mixer
    mixer_norm: Norm | None
    feed_forward: Part
    feed_forward_norm: Norm | None
    before_mixer: StreamMean
    before_feed_forward: StreamMean
    width: int
    n_aside: int
    puts_aside: bool

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.mixer.kept

    def alone(self) -> AttendedLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, mixer=self.mixer.alone())

    def _mixed(self, x: F32) -> F32:
        present, aside = parted(x, self.width, self.n_aside)
        mixed = self.mixer(normed(self.before_mixer(present, aside), self.mixer_norm))
        after: F32 = x.copy()
        after[:, : self.width] = mixed if self.puts_aside else present + mixed
        if self.puts_aside:
            start = self.width * (1 + self.n_aside)
            after[:, start : start + self.width] = present
        return after

    def _fed_forward(self, x: F32) -> F32:
        present, aside = parted(x, self.width, self.n_aside + self.puts_aside)
        mean = self.before_feed_forward(present, aside)
        after: F32 = x.copy()
        fed = self.feed_forward(normed(mean, self.feed_forward_norm))
        after[:, : self.width] = present + fed
        return after


def load_streams(facts: Facts, claims: Claims, epsilon: float) -> Streams:
    """The streams of a model, with the epsilon of their norms."""
    block = facts.size(BLOCK)
    scores = claims.vector("output_res_score.weight", facts.width)
    n_aside = -(-facts.n_layers // block)
    return Streams(facts.width, n_aside, StreamMean(scores, epsilon))


def load_attended(
    facts: Facts, claims: Claims, layer: Sequential, number: int, epsilon: float
) -> AttendedLayer:
    """Layer `number`, with the parts and norms of `layer`."""
    assert layer.mixer is not None
    assert layer.feed_forward is not None
    block = facts.size(BLOCK)

    def mean(name: str) -> StreamMean:
        name = f"blk.{number}.{name}_res_score.weight"
        return StreamMean(claims.vector(name, facts.width), epsilon)

    return AttendedLayer(
        mixer=layer.mixer,
        mixer_norm=layer.mixer_norm,
        feed_forward=layer.feed_forward,
        feed_forward_norm=layer.feed_forward_norm,
        before_mixer=mean("attn"),
        before_feed_forward=mean("ffn"),
        width=facts.width,
        n_aside=-(-number // block),
        puts_aside=number % block == 0,
    )
