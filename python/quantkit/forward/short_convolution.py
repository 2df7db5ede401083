"""LFM2's mixer: a gated short convolution, in place of attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import UnsupportedModelError
from . import ops, recurrent_ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear
from .sequences import by_sequence
from .traits import Traits

__all__ = ["ShortConvolution", "load_short_convolution"]

TAPS = "shortconv.l_cache"


@dataclass(frozen=True)
class ShortConvolution:
    """output(c * convolution(b * x)), where one projection gives b, c and x.

    The last tap is for the position itself; if the convolution is not causal, it is the
    one in the middle, and positions after the last one are 0.

    Attributes:
        into: gives b, c and x, side by side.
        weight: [width, taps], of the convolution.
        output: the output projection.
        causal: positions see no later ones.
    """

    into: Linear
    weight: F32
    output: Linear
    causal: bool = True

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        b, c, values = np.split(self.into(x), 3, axis=1)
        if self.causal:
            y = recurrent_ops.short_convolution(b * values, self.weight)
        else:
            y = by_sequence(self._of_both_sides, b * values)
        y *= c
        return self.output(y)

    def _of_both_sides(self, x: F32) -> F32:
        """x [n, width] of one sequence through the convolution."""
        n_later = self.weight.shape[1] // 2
        padded = np.pad(x, ((0, n_later), (0, 0)))
        return recurrent_ops.short_convolution(padded, self.weight)[n_later:]

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        channels, taps = self.weight.shape
        return (State(channels * (taps - 1)),)

    def alone(self) -> ShortConvolution:
        """The same, with each position seeing only itself."""
        taps = self.weight.shape[1]
        own = taps - 1 if self.causal else taps // 2
        return replace(self, weight=ops.contiguous(self.weight[:, own : own + 1]))


def load_short_convolution(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> ShortConvolution:
    """The short convolution of layer `number`.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
        UnsupportedModelError: it is not causal, and has no tap in the middle.
    """
    at, width, taps = f"blk.{number}.shortconv.", facts.width, facts.size(TAPS)
    if not traits.causal and taps % 2 == 0:
        raise UnsupportedModelError(
            f"{facts.key(TAPS)} is {int(taps)}; expected an odd number, because tokens "
            "see both sides: convolutions then have as many taps for later tokens as "
            "for earlier ones"
        )
    weight = claims.vector(f"{at}conv.weight", width, taps)
    return ShortConvolution(
        into=Linear.of(claims, f"{at}in_proj", 3 * width, width),
        weight=weight.reshape(width, taps),
        output=Linear.of(claims, f"{at}out_proj", width, width),
        causal=traits.causal,
    )
