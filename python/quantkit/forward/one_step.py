"""Layers whose experts read the input of the whole layer, so that they are one step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .base import F32
from .feed_forward import Mixture
from .kept import Kept, State
from .layer import InSteps, Mixer, Part, Sequential
from .layers import Norm, normed

__all__ = ["BesideExperts", "RoutedEarly"]


@dataclass(frozen=True)
class RoutedEarly(InSteps):
    """A layer whose router reads the layer's input, without a norm (SmallThinker).

    Attributes:
        mixer, mixer_norm: the mixer and its norm.
        experts, experts_norm: the experts, whose input is normalized, and the norm.
    """

    mixer: Mixer
    mixer_norm: Norm | None
    experts: Mixture
    experts_norm: Norm | None

    @classmethod
    def of(cls, layer: Sequential) -> RoutedEarly:
        """The layer with these parts and norms."""
        assert layer.mixer is not None
        assert isinstance(layer.feed_forward, Mixture)
        norms = layer.mixer_norm, layer.feed_forward_norm
        return cls(layer.mixer, norms[0], layer.feed_forward, norms[1])

    def _whole(self, x: F32) -> F32:
        """x [n, width] -> [n, width]."""
        scores = self.experts.router(x)
        x = x + self.mixer(normed(x, self.mixer_norm))
        return x + self.experts.mixed(normed(x, self.experts_norm), scores)

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `layer.Layer.steps`."""
        return (self._whole,)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `layer.Layer.kept`."""
        return self.mixer.kept

    def alone(self) -> RoutedEarly:
        """The layer for rows that are sequences of one token each."""
        return replace(self, mixer=self.mixer.alone())


@dataclass(frozen=True)
class BesideExperts(InSteps):
    """A layer with experts beside both of its parts (Arctic).

    Attributes:
        layer: its mixer and its dense part.
        experts: read the layer's input, and add to its output.
        experts_norm: the norm of what they read.
    """

    layer: Sequential
    experts: Part
    experts_norm: Norm

    def _whole(self, x: F32) -> F32:
        """x [n, width] -> [n, width]."""
        return self.layer(x) + self.experts(self.experts_norm(x))

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `layer.Layer.steps`."""
        return (self._whole,)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `layer.Layer.kept`."""
        return self.layer.kept

    def alone(self) -> BesideExperts:
        """The layer for rows that are sequences of one token each."""
        return replace(self, layer=self.layer.alone())
