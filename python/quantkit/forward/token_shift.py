"""RWKV's token shift: each position sees its input and that of the one before it.

Source: arXiv:2305.13048.  Before the first position, the input is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear
from .sequences import by_sequence
from .traits import Traits

__all__ = ["ChannelMix", "load_channel_mix", "steps_back"]


def steps_back(x: F32, *, is_alone: bool = False) -> F32:
    """The input before each position, less its own: [n, width].

    Args:
        x: [n, width].
        is_alone: each position is a sequence of its own.
    """
    return -x if is_alone else by_sequence(_steps_back, x)


def _steps_back(x: F32) -> F32:
    back = np.empty_like(x)
    np.negative(x[:1], out=back[:1])
    np.subtract(x[:-1], x[1:], out=back[1:])
    return back


@dataclass(frozen=True)
class ChannelMix:
    """RWKV's feed-forward part: value(relu(key(x))^2), which RWKV-6 gates.

    Attributes:
        key, value: the two projections.
        shift: [width], how much of the position before is in the key's input.
        gate: RWKV-6's `receptance`, whose sigmoid multiplies the output, and the shift
            of its input; None: it has no gate.
        is_alone: each position is a sequence of its own.
    """

    key: Linear
    value: Linear
    shift: F32
    gate: tuple[Linear, F32] | None = None
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        back = steps_back(x, is_alone=self.is_alone)
        y = self.value(ops.relu_squared(self.key(x + back * self.shift)))
        if self.gate is not None:
            gate, shift = self.gate
            y *= ops.sigmoid(gate(x + back * shift))
        return y

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """Its last input."""
        return (State(self.key.n_inputs),)

    def alone(self) -> ChannelMix:
        """The same, with each position seeing only itself."""
        return replace(self, is_alone=True)


def load_channel_mix(
    facts: Facts, claims: Claims, number: int, traits: Traits, *, gated: bool
) -> ChannelMix:
    """The feed-forward part of layer `number`; `gated`: it is RWKV-6's."""
    at, width, inner = f"blk.{number}.channel_mix", facts.width, facts.inner_size(0)
    gate = None
    if gated:
        gate = (
            Linear.of(claims, f"{at}_receptance", width, width),
            claims.vector(f"{at}_lerp_r.weight", width),
        )
    return ChannelMix(
        key=Linear.of(claims, f"{at}_key", inner, width),
        value=Linear.of(claims, f"{at}_value", width, inner),
        shift=claims.vector(f"{at}_lerp_k.weight", width),
        gate=gate,
    )
