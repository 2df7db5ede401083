"""The layers of a decoder: a part that mixes positions, and one that does not.

A layer is a function of the *stream*: f32 [n, columns], one row for each position.  Its
columns are the hidden states, and after them whatever a model hands from layer to layer
beside them: further residual streams, inputs of all layers, keys that later layers
share.  So layers have no other inputs, and can be run one at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from .base import F32
from .kept import Kept, State
from .layers import Norm, normed

__all__ = [
    "AroundParts",
    "InSteps",
    "InTwoSteps",
    "Layer",
    "Mixer",
    "Part",
    "Sequential",
]

Part = Callable[[F32], F32]

MIXED = ("attn_output.weight", "ssm_out.weight", "time_mix_output.weight")
FED_FORWARD = ("ffn_down.weight",)


@runtime_checkable
class Mixer(Protocol):
    """The part of a layer that mixes positions, such as attention.

    RWKV's feed-forward parts do so too: they see the position before.
    """

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""

    def alone(self) -> Mixer:
        """The same, with each position seeing only itself."""

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """What it keeps of a sequence for the next token."""


class Layer(Protocol):
    """A layer, and what calibration needs to know of it."""

    @property
    def residual_scale(self) -> float:
        """What multiplies the outputs of its parts."""

    @property
    def steps(self) -> tuple[Part, ...]:
        """The functions of the stream whose composition the layer is."""

    @property
    def added(self) -> tuple[str, ...]:
        """Ends of the names of matrices whose outputs are added to the stream as such.

        At most one matrix in each step.
        """

    def __call__(self, x: F32) -> F32:
        """The stream after the layer, from the stream before it: [n, columns]."""

    def alone(self) -> Layer:
        """The layer for rows that are sequences of one token each."""

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """What it keeps of a sequence for the next token."""


class InSteps(ABC):
    """The base of layers that run step by step."""

    @property
    def residual_scale(self) -> float:
        """See `Layer.residual_scale`."""
        return 1.0

    @property
    @abstractmethod
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""

    @property
    def added(self) -> tuple[str, ...]:
        """See `Layer.added`; none, unless a layer says so."""
        return ()

    def __call__(self, x: F32) -> F32:
        """The stream after the layer, from the stream before it: [n, columns]."""
        for step in self.steps:
            x = step(x)
        return x


class InTwoSteps(InSteps):
    """The base of layers that mix positions first, and feed forward then."""

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        return self._mixed, self._fed_forward

    @abstractmethod
    def _mixed(self, x: F32) -> F32:
        """The stream after the mixer, from the stream before it."""

    @abstractmethod
    def _fed_forward(self, x: F32) -> F32:
        """The stream after the feed-forward part, from the stream before it."""


@dataclass(frozen=True)
class Sequential(InSteps):
    """A layer of two parts, each of which adds to the hidden states.

    Attributes:
        mixer, feed_forward: its two parts; None: it has only the other one.
        mixer_norm: the norm of the mixer's input; None: no norm.
        mixer_out_norm: the norm of the mixer's output.
        feed_forward_norm, feed_forward_out_norm: the same for the feed-forward part.
            With `parallel` and no `feed_forward_norm`, both parts share `mixer_norm`.
        parallel: both parts read the layer's input, instead of one after the other.
        residual_scale: multiplies what each part adds.
    """

    mixer: Mixer | None
    feed_forward: Part | None
    mixer_norm: Norm | None
    mixer_out_norm: Norm | None
    feed_forward_norm: Norm | None
    feed_forward_out_norm: Norm | None
    parallel: bool = False
    residual_scale: float = 1.0

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        parts = self.mixer, self.feed_forward
        mixers = (part for part in parts if isinstance(part, Mixer))
        return tuple(each for mixer in mixers for each in mixer.kept)

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        if self.parallel:
            return (self._both,)
        parts = (self.mixer, self._mixed), (self.feed_forward, self.fed_forward)
        return tuple(step for part, step in parts if part is not None)

    @property
    def added(self) -> tuple[str, ...]:
        """See `Layer.added`."""
        mixed = MIXED if self.mixer_out_norm is None and not self.parallel else ()
        return mixed + (FED_FORWARD if self.feed_forward_out_norm is None else ())

    def alone(self) -> Sequential:
        """The layer for rows that are sequences of one token each."""
        part = self.feed_forward
        return replace(
            self,
            mixer=self.mixer and self.mixer.alone(),
            feed_forward=part.alone() if isinstance(part, Mixer) else part,
        )

    def before_mixing(self, x: F32) -> F32:
        """The input of the mixer, from hidden states [n, width]."""
        return normed(x, self.mixer_norm)

    def after_mixing(self, x: F32, y: F32) -> F32:
        """Hidden states, from those before mixing and the mixer's output."""
        return x + self._scaled(normed(y, self.mixer_out_norm))

    def fed_forward(self, x: F32) -> F32:
        """Hidden states [n, width] after the feed-forward part."""
        assert self.feed_forward is not None
        y = self.feed_forward(normed(x, self.feed_forward_norm))
        return x + self._scaled(normed(y, self.feed_forward_out_norm))

    def _both(self, x: F32) -> F32:
        assert self.mixer is not None
        assert self.feed_forward is not None
        inside = beside = normed(x, self.mixer_norm)
        if self.feed_forward_norm is not None:
            beside = self.feed_forward_norm(x)
        return x + self._scaled(self.mixer(inside) + self.feed_forward(beside))

    def _mixed(self, x: F32) -> F32:
        assert self.mixer is not None
        return self.after_mixing(x, self.mixer(self.before_mixing(x)))

    def _scaled(self, x: F32) -> F32:
        return x if self.residual_scale == 1 else x * np.float32(self.residual_scale)


@dataclass(frozen=True)
class AroundParts(InSteps):
    """The base of layers that add to hidden states as `parts` does.

    Attributes:
        parts: its norms, and its feed-forward part.
    """

    parts: Sequential

    @property
    def residual_scale(self) -> float:
        """See `Layer.residual_scale`."""
        return self.parts.residual_scale

    @property
    def added(self) -> tuple[str, ...]:
        """See `Layer.added`."""
        return self.parts.added

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.parts.kept
