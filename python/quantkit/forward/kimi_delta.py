"""Kimi Delta Attention: the delta rule where each component of a key fades by itself.

Source: arXiv:2510.26692.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import ops, recurrent_ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .gated_delta import DeltaSizes, GatedDelta
from .layers import Linear, Norm
from .traits import Traits

__all__ = ["load_kimi_delta"]

PARTS = "qkv"


@dataclass(frozen=True)
class InOne:
    """Linear maps whose outputs are put side by side."""

    parts: tuple[Linear, ...]

    def __call__(self, x: Activations) -> F32:
        """x [n, width] -> [n, all outputs]."""
        return np.concatenate([part(x) for part in self.parts], axis=1)


@dataclass(frozen=True)
class InTurn:
    """Two linear maps, the second of the outputs of the first."""

    first: Linear
    second: Linear

    def __call__(self, x: Activations) -> F32:
        """x [n, width] -> [n, outputs of the second]."""
        return self.second(self.first(x))


@dataclass(frozen=True)
class ComponentControls:
    """beta = sigmoid(x B) for each head, and a decay for each component of its key.

    With y the product of `decay`, a decay is rates * softplus(y), or, if there is a
    lower bound, bound * sigmoid(-rates * y).

    Attributes:
        beta: B.
        decay: what the decay is a function of.
        rates: [heads], negative.
        bound: the lower bound, negative; None: there is none.
    """

    beta: Linear
    decay: InTurn
    rates: F32
    bound: float | None = None

    def __call__(self, x: Activations) -> tuple[F32, F32]:
        """See `gated_delta.Controls`."""
        beta = ops.sigmoid(self.beta(x))
        y = self.decay(x).reshape(*beta.shape, -1)
        if self.bound is None:
            return beta, recurrent_ops.softplus(y) * self.rates[:, None]
        return beta, ops.sigmoid(-self.rates[:, None] * y) * np.float32(self.bound)


def load_kimi_delta(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    *,
    is_whole: bool = False,
    is_flat: bool = False,
    bound: float | None = None,
) -> GatedDelta:
    """The delta rule of layer `number`.

    Args:
        facts: the metadata.
        claims: the tensors.
        number: the layer.
        traits: the family's traits.
        is_whole: the gate has one matrix, instead of two of a lower rank.
        is_flat: the rates have one axis, instead of one of size 1 after it.
        bound: see `ComponentControls`.
    """
    at, width, n_heads = f"blk.{number}.", facts.width, facts.n_heads(number)
    size, taps = facts.size("kda.head_dim"), facts.size("ssm.conv_kernel")
    inner = n_heads * size

    def low_rank(name: str) -> InTurn:
        first = Linear.of(claims, f"{at}ssm_{name}_a", size, width)
        return InTurn(first, Linear.of(claims, f"{at}ssm_{name}_b", inner, size))

    def whole_gate() -> Linear:
        return Linear.of(claims, f"{at}ssm_g", inner, width)

    decay = low_rank("f")
    bias = claims.vector(f"{at}ssm_dt.bias", inner)
    convolutions = [
        claims.vector(f"{at}ssm_conv1d_{part}.weight", inner, 1, taps) for part in PARTS
    ]
    projections = tuple(
        Linear.of(claims, f"{at}attn_{part}", inner, width) for part in PARTS
    )
    return GatedDelta(
        mixed=InOne(projections),
        convolution=np.concatenate(convolutions).reshape(3 * inner, taps),
        controls=ComponentControls(
            beta=Linear.of(claims, f"{at}ssm_beta", n_heads, width),
            decay=InTurn(decay.first, Linear(decay.second.matrix, bias)),
            rates=claims.vector(f"{at}ssm_a", n_heads, *(() if is_flat else (1,))),
            bound=bound,
        ),
        gate=whole_gate() if is_whole else low_rank("g"),
        norm=Norm(
            claims.vector(f"{at}ssm_norm.weight", size), None, traits.epsilon, False
        ),
        output=Linear.of(claims, f"{at}attn_output", width, inner),
        sizes=DeltaSizes(n_heads, n_heads, size, size),
        gating="sigmoid",
    )
