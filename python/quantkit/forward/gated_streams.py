"""Layers with several residual streams, which gates mix and feed (Qwen 4 Exp).

The streams are side by side in the columns of the stream between layers.  Each part of
a layer reads one mix of all streams, and its output is added to each of them with a
weight of its own.  Source: modeling_qwen4_exp.py of transformers, whose name for it is
gated residual; a kind of hyper-connections (arXiv:2409.19606).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32, Activations
from .claims import Claims
from .kept import Kept, State
from .layer import InTwoSteps, Part, Sequential
from .layers import Linear, Norm
from .ngram_embedding import NGramLayer
from .sizes import Size

__all__ = ["GatedLayer", "GatedStreams", "StreamMixer"]


@dataclass(frozen=True)
class StreamMixer:
    """Mixes all streams into one, and tells what each gets of the part that reads it.

    Attributes:
        count: the number of streams.
        norm: of each stream, with weights [count, width].
        down, up: give the gates of all streams.
        inject: gives the weight of each stream; None: nothing is added to them.
    """

    count: int
    norm: Norm
    down: Linear
    up: Linear
    inject: Linear | None = None

    @classmethod
    def of(
        cls,
        claims: Claims,
        name: str,
        sizes: tuple[Size, Size, Size],
        epsilon: float,
        *,
        injects: bool = True,
    ) -> StreamMixer:
        """The mixer whose tensors' names start with `name`.

        Args:
            claims: the tensors.
            name: the start.
            sizes: the number of streams, their width, and that between the gates' maps.
            epsilon: of the norm.
            injects: whether it has a weight of each stream.
        """
        count, width, rank = sizes
        whole = count * width
        weight = claims.vector(f"{name}_norm.weight", whole).reshape(count, width)
        return cls(
            count=int(count),
            norm=Norm(weight, None, epsilon, centered=False),
            down=Linear.of(claims, f"{name}_down", rank, whole),
            up=Linear.of(claims, f"{name}_up", whole, rank),
            inject=Linear.of(claims, f"{name}_inject", count, whole)
            if injects
            else None,
        )

    def __call__(self, x: F32) -> F32:
        """Streams x [n, count * width] -> their mix [n, width]."""
        return self.read(x)[0]

    def read(self, x: F32) -> tuple[F32, F32 | None]:
        """Streams x [n, count * width] -> their mix, and weights [n, count] of each."""
        n, share = len(x), np.float32(1 / self.count)
        y = self.norm(x.reshape(n, self.count, -1))
        shared = Activations(y.reshape(n, -1))
        gates = ops.sigmoid(self.up(ops.silu(self.down(shared) * share)))
        gates *= shared.values
        mixed: F32 = gates.reshape(y.shape).sum(axis=1) * share
        if self.inject is None:
            return mixed, None
        return mixed, 2 * ops.sigmoid(self.inject(shared) * share)


@dataclass(frozen=True)
class GatedStreams:
    """The opening and the closing of a model: its streams start as copies.

    Attributes:
        count: the number of streams.
        width: of each.
        mixer: makes hidden states of the streams after the last layer.
        keeps_tokens: a further column has the ids of the tokens, for n-grams.
    """

    count: int
    width: int
    mixer: StreamMixer
    keeps_tokens: bool

    @property
    def columns(self) -> int:
        """The number of columns of the stream between layers."""
        return self.count * self.width + self.keeps_tokens

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        copies = [x] * self.count
        if self.keeps_tokens:  # ids are below 2^24, so f32 has them exactly
            copies.append(tokens.astype(np.float32)[:, None])
        return np.concatenate(copies, axis=1)

    def closed(self, x: F32) -> F32:
        """[n, columns] -> hidden states [n, width]."""
        return self.mixer(x[:, : self.count * self.width])


@dataclass(frozen=True)
class GatedLayer(InTwoSteps):
    """A layer whose parts read a mix of the streams, and add to all of them.

    Attributes:
        parts: its mixer and its feed-forward part.
        before: the mixers of streams before each of them.
        ngrams: adds the embeddings of n-grams before both; None: it does not.
    """

    parts: Sequential
    before: tuple[StreamMixer, StreamMixer]
    ngrams: NGramLayer | None = None

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        own = super().steps
        return own if self.ngrams is None else (self.ngrams, *own)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        ngrams = () if self.ngrams is None else self.ngrams.kept
        return *ngrams, *self.parts.kept

    def alone(self) -> GatedLayer:
        """The layer for rows that are sequences of one token each."""
        ngrams = self.ngrams and self.ngrams.alone()
        return replace(self, parts=self.parts.alone(), ngrams=ngrams)

    def _mixed(self, x: F32) -> F32:
        return _added(x, self.before[0], self.parts.mixer)

    def _fed_forward(self, x: F32) -> F32:
        return _added(x, self.before[1], self.parts.feed_forward)


def _added(x: F32, before: StreamMixer, part: Part | None) -> F32:
    """The stream, with a part's output added to all residual streams."""
    assert part is not None
    norm = before.norm.weight
    assert norm is not None
    streams = x[:, : norm.size]
    mixed, weights = before.read(streams)
    assert weights is not None
    y: F32 = x.copy()
    injected = weights[:, :, None] * part(mixed)[:, None]
    y[:, : norm.size] += injected.reshape(streams.shape)
    return y
