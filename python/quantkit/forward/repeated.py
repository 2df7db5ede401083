"""Layers that run several times, with the same weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .kept import Kept, State
from .layer import InSteps, Layer, Part
from .layers import Norm

__all__ = ["ThenNormed", "repeated"]


@dataclass(frozen=True)
class ThenNormed(InSteps):
    """A layer whose stream is normalized after it.

    Attributes:
        layer: the layer.
        norm: of the stream [n, width].
    """

    layer: Layer
    norm: Norm

    @property
    def residual_scale(self) -> float:
        """See `Layer.residual_scale`."""
        return self.layer.residual_scale

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        return (*self.layer.steps, self.norm)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.layer.kept

    def alone(self) -> ThenNormed:
        """The layer for rows that are sequences of one token each."""
        return replace(self, layer=self.layer.alone())


def repeated(
    layers: tuple[Layer, ...], times: int, norm: Norm | None
) -> tuple[Layer, ...]:
    """The layers, so many times.

    Args:
        layers: the layers of one pass.
        times: the number of passes.
        norm: normalizes the stream between two passes; None: nothing does.
    """
    if times == 1 or norm is None:
        return layers * times
    inner = (*layers[:-1], ThenNormed(layers[-1], norm))
    return inner * (times - 1) + layers
