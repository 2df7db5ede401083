"""PLaMo 2's recurrent mixer: Mamba-2's states, whose controls follow the convolution.

As in Mamba, a projection of the convolved channels gives the inputs and outputs of
states and what steps are made of, each with a norm.  As in Mamba-2, the states of a
head fade alike.  Source: llama.cpp, build 11434 (plamo2.cpp), which follows the remote
code of the published models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError
from . import ops, recurrent_ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear, Norm
from .mamba import Convolution
from .sizes import Size
from .traits import Traits

__all__ = ["PlamoSpace", "load_plamo_space"]

SMALLEST_RANK, RANK_OF = 64, 16
"""The rank of steps is the width divided by the second, but at least the first."""


@dataclass(frozen=True)
class PlamoSpace:
    """PLaMo 2's mixer without attention.

    Attributes:
        into: gives, for each head, gates and channels.
        convolution: of the channels.
        controls: gives inputs and outputs of states, and what steps are made of.
        norms: of these three.
        steps: makes the size of each head's step; with a bias.
        rates: [heads], negative: how states fade.
        skip: [heads], how much of a channel goes around its state.
        output: the output projection.
        is_alone: each position is a sequence.
    """

    into: Linear
    convolution: Convolution
    controls: Linear
    norms: tuple[Norm, Norm, Norm]
    steps: Linear
    rates: F32
    skip: F32
    output: Linear
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        n, heads = len(x), len(self.rates)
        both = self.into(x).reshape(n, heads, 2, -1)
        gate, mixed = (both[:, :, i].reshape(n, -1) for i in range(2))
        mixed = self.convolution(mixed)
        n_states = len(self.norms[0].weight) if self.norms[0].weight is not None else 0
        parts = np.split(self.controls(mixed), [n_states, 2 * n_states], axis=1)
        pairs = zip(self.norms, parts, strict=True)
        b, c, dt = (norm(part) for norm, part in pairs)
        dt = recurrent_ops.softplus(self.steps(dt))
        y = self._scanned(mixed.reshape(n, heads, -1), dt, b, c).reshape(n, -1)
        return self.output(ops.silu(gate, y))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `layer.Mixer.kept`."""
        weight = self.norms[0].weight
        assert weight is not None
        return self.convolution.kept, State(len(weight) * self.output.n_inputs)

    def alone(self) -> PlamoSpace:
        """The same, with each position seeing only itself."""
        return replace(self, convolution=self.convolution.alone(), is_alone=True)

    def _scanned(self, x: F32, dt: F32, b: F32, c: F32) -> F32:
        """Channels [n, heads, size], steps [n, heads] -> [n, heads, size]."""
        if not self.is_alone:
            b, c = b[:, None], c[:, None]
            return recurrent_ops.state_space(x, dt, self.rates, b, c, self.skip)
        match = (b * c).sum(-1, keepdims=True)
        own: F32 = x * (match * dt + self.skip)[..., None]
        return own


def load_plamo_space(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> PlamoSpace:
    """The mixer of layer `number`.

    Raises:
        FormatError: heads do not form the channels.
    """
    at, width = f"blk.{number}.", facts.width
    inner, states, heads = (
        facts.size(f"ssm.{key}")
        for key in ("inner_size", "state_size", "time_step_rank")
    )
    if inner % heads:
        raise FormatError(
            f"{facts.key('ssm.time_step_rank')} is {int(heads)}; expected a divisor of "
            f"{facts.key('ssm.inner_size')}, {int(inner)}"
        )
    rank = width // RANK_OF
    rank = Size(max(SMALLEST_RANK, rank), *rank.follows)

    def norm(name: str, size: Size) -> Norm:
        weight = claims.vector(f"{at}ssm_{name}_norm", size)
        return Norm(weight, None, traits.epsilon, centered=False)

    return PlamoSpace(
        into=Linear.of(claims, f"{at}ssm_in", 2 * inner, width),
        convolution=Convolution.load(facts, claims, at, inner),
        controls=Linear.of(claims, f"{at}ssm_x", rank + 2 * states, inner),
        norms=(norm("b", states), norm("c", states), norm("dt", rank)),
        steps=Linear.of(claims, f"{at}ssm_dt", heads, rank, "required"),
        rates=claims.vector(f"{at}ssm_a", heads),
        skip=claims.vector(f"{at}ssm_d", heads),
        output=Linear.of(claims, f"{at}ssm_out", width, inner),
    )
