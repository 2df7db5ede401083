"""Gemma 3n's layers: AltUp, LAuReL, activation sparsity.

AltUp (arXiv:2301.13310) keeps several streams of hidden states.  A layer predicts all
of them, computes only the first one, and corrects the others by what came out of it.
LAuReL (arXiv:2411.07501) adds a low-rank map of the layer's input.
Source: llama.cpp, build 11434 (gemma3n.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .gemma_stream import InputColumns, SharedAttention
from .kept import Kept, State
from .layer import AroundParts, Part
from .layers import Linear, Norm
from .sizes import Size
from .traits import Traits

__all__ = [
    "N_STREAMS",
    "AltUp",
    "AltUpLayer",
    "Laurel",
    "Merge",
    "Spread",
    "load_altup",
    "load_laurel",
    "sparse_gelu",
    "stacked_maps",
]

N_STREAMS = 4
"""The number of streams; llama.cpp knows no other."""

LEAST_SQUARE = 1e-5
"""The least mean square of a stream that is divided by its root."""


@dataclass(frozen=True)
class Spread:
    """Makes all streams of the embedded tokens: maps of them, with the same size."""

    maps: tuple[Linear, ...]

    def __call__(self, x: F32) -> F32:
        """x [n, width] -> [n, streams * width]."""
        return np.concatenate(
            [x, *(_as_large(each(x), x) for each in self.maps)], axis=1
        )


@dataclass(frozen=True)
class Merge:
    """The mean of the first stream and of maps of the others, with the same size."""

    maps: tuple[Linear, ...]
    width: int

    def __call__(self, x: F32) -> F32:
        """The stream [n, columns] -> [n, width]."""
        own, *others = (
            x[:, i * self.width : (i + 1) * self.width]
            for i in range(len(self.maps) + 1)
        )
        y: F32 = own.copy()
        for each, other in zip(self.maps, others, strict=True):
            y += _as_large(each(other), own)
        y /= np.float32(len(others) + 1)
        return y


def _as_large(y: F32, x: F32) -> F32:
    """y with the root mean square of each row of x."""
    wanted = np.sqrt(np.square(x).mean(axis=-1, keepdims=True))
    found = np.square(y).mean(axis=-1, keepdims=True)
    scaled: F32 = y * wanted / np.sqrt(np.maximum(found, np.float32(LEAST_SQUARE)))
    return scaled


@dataclass(frozen=True)
class AltUp:
    """Predicts and corrects the streams of a layer.

    Attributes:
        router_norm, router: give each token's weights of the maps below: [streams].
        predict: gives the coefficients of predictions: [streams * streams].
        correct: gives those of corrections, minus 1: [streams].
        scale: [width], multiplies the first stream where the layer's input gates it.
    """

    router_norm: Norm
    router: Linear
    predict: Linear
    correct: Linear
    scale: F32

    def predicted(self, streams: F32) -> F32:
        """Each stream plus a sum of all: [n, streams, width]."""
        shares = self.predict(self._modalities(streams[:, 0]))
        shares = shares.reshape(len(streams), N_STREAMS, N_STREAMS, 1)
        y: F32 = streams.copy()
        for i in range(N_STREAMS):
            y += shares[:, :, i] * streams[:, i : i + 1]
        return y

    def corrected(self, predictions: F32, computed: F32) -> F32:
        """The predictions, changed by what the layer computed: [n, streams, width]."""
        shares = self.correct(self._modalities(computed)) + np.float32(1)
        change = computed - predictions[:, 0]
        y: F32 = predictions + shares[:, :, None] * change[:, None]
        return y

    def _modalities(self, x: F32) -> F32:
        y: F32 = np.tanh(self.router(self.router_norm(x) / np.float32(x.shape[1])))
        return y


@dataclass(frozen=True)
class Laurel:
    """x + norm(right(left(x))), where `left` gives few columns."""

    left: Linear
    right: Linear
    norm: Norm

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        return x + self.norm(self.right(self.left(x)))


@dataclass(frozen=True)
class AltUpLayer(AroundParts):
    """A layer of Gemma 3n.

    Attributes:
        attention: its attention.
        altup, laurel: see there.
        width: the number of columns of one stream.
        input: the input of the layer.
    """

    attention: SharedAttention
    altup: AltUp
    laurel: Laurel
    width: int
    input: InputColumns

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        return (self._updated,)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.attention.kept

    def alone(self) -> AltUpLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone())

    def _updated(self, x: F32) -> F32:
        after: F32 = x.copy()
        stop = N_STREAMS * self.width
        streams = x[:, :stop].reshape(len(x), N_STREAMS, self.width)
        predictions = self.altup.predicted(streams)
        computed = self._computed(predictions[:, 0], x, after)
        streams = self.altup.corrected(predictions, computed)
        streams[:, 1:] += self.input(streams[:, 0] * self.altup.scale, x)[:, None]
        after[:, :stop] = streams.reshape(len(x), stop)
        return after

    def _computed(self, x: F32, before: F32, after: F32) -> F32:
        """Hidden states x [n, width] after attention, LAuReL and feed-forward."""
        inside = self.parts.before_mixing(x)
        laurel = self.laurel(inside)
        mixed = self.parts.after_mixing(x, self.attention(inside, before, after))
        return self.parts.fed_forward((mixed + laurel) * np.float32(0.5**0.5))


def sparse_gelu(gate: F32, up: F32, *, deviations: float) -> F32:
    """GELU of what exceeds the mean by so many standard deviations, times `up`."""
    mean = gate.mean(axis=-1, keepdims=True)
    cut = mean + gate.std(axis=-1, keepdims=True) * np.float32(deviations)
    return ops.gelu_tanh(np.maximum(gate - cut, np.float32(0)), up)


def load_altup(facts: Facts, claims: Claims, number: int, traits: Traits) -> AltUp:
    """How layer `number` predicts and corrects streams."""
    at, width, n = f"blk.{number}.altup_", facts.width, N_STREAMS
    weight = claims.vector(f"{at}router_norm.weight", width)
    return AltUp(
        router_norm=Norm(weight, None, traits.epsilon, centered=False),
        router=Linear.of(claims, f"{at}router", n, width),
        predict=Linear.of(claims, f"{at}predict_coef", n * n, n),
        correct=Linear.of(claims, f"{at}correct_coef", n, n),
        scale=claims.vector(f"{at}correct_scale.weight", width),
    )


def load_laurel(facts: Facts, claims: Claims, number: int, traits: Traits) -> Laurel:
    """The low-rank map of layer `number`; GGUF has no key for its rank."""
    at, width = f"blk.{number}.laurel_", facts.width
    name = "blk.0.laurel_l.weight"
    rank = Size(claims.shapes.get(name, (1,))[0], name)
    weight = claims.vector(f"{at}post_norm.weight", width)
    return Laurel(
        left=Linear.of(claims, f"{at}l", rank, width),
        right=Linear.of(claims, f"{at}r", width, rank),
        norm=Norm(weight, None, traits.epsilon, centered=False),
    )


def stacked_maps(claims: Claims, name: str, width: Size) -> tuple[Linear, ...]:
    """The maps of all streams but the first, which one tensor stacks."""
    matrix = claims.matrix(f"{name}.weight", N_STREAMS - 1, width, width)
    starts = (i * width for i in range(N_STREAMS - 1))
    return tuple(Linear(matrix.part(start, start + width)) for start in starts)
