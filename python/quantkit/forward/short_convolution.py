"""LFM2's mixer: a gated short convolution, in place of attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import recurrent_ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear
from .traits import Traits

__all__ = ["ShortConvolution", "load_short_convolution"]

TAPS = "shortconv.l_cache"


@dataclass(frozen=True)
class ShortConvolution:
    """output(c * convolution(b * x)), where one projection gives b, c and x.

    Attributes:
        into: gives b, c and x, side by side.
        weight: [width, taps], of the convolution.
        output: the output projection.
    """

    into: Linear
    weight: F32
    output: Linear

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        b, c, values = np.split(self.into(x), 3, axis=1)
        y = recurrent_ops.short_convolution(b * values, self.weight)
        y *= c
        return self.output(y)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        channels, taps = self.weight.shape
        return (State(channels * (taps - 1)),)

    def alone(self) -> ShortConvolution:
        """The same, with each position seeing only itself."""
        return replace(self, weight=np.ascontiguousarray(self.weight[:, -1:]))


def load_short_convolution(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> ShortConvolution:
    """The short convolution of layer `number`."""
    at, width, taps = f"blk.{number}.shortconv.", facts.width, facts.size(TAPS)
    weight = claims.vector(f"{at}conv.weight", width, taps)
    return ShortConvolution(
        into=Linear.of(claims, f"{at}in_proj", 3 * width, width),
        weight=weight.reshape(width, taps),
        output=Linear.of(claims, f"{at}out_proj", width, width),
    )
