"""A linear map in place of attention: it does not mix positions."""

from __future__ import annotations

from dataclasses import dataclass

from .base import F32
from .claims import Claims
from .facts import Facts
from .layers import Linear

__all__ = ["LinearMixer", "load_linear_mixer"]


@dataclass(frozen=True)
class LinearMixer:
    """A linear map of each position.

    Attributes:
        linear: the map [width, width].
    """

    linear: Linear

    @property
    def kept(self) -> tuple[()]:
        """Nothing: see `layer.Mixer.kept`."""
        return ()

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        return self.linear(x)

    def alone(self) -> LinearMixer:
        """The same."""
        return self


def load_linear_mixer(facts: Facts, claims: Claims, number: int) -> LinearMixer:
    """The linear map of layer `number`, which is called `attn_output`."""
    name = f"blk.{number}.attn_output"
    return LinearMixer(Linear.of(claims, name, facts.width, facts.width))
