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

    Attributes:
        beta: B.
        decay: what the decay is a function of.
        rates: [heads], negative.
    """

    beta: Linear
    decay: InTurn
    rates: F32

    def __call__(self, x: Activations) -> tuple[F32, F32]:
        """See `gated_delta.Controls`."""
        beta = ops.sigmoid(self.beta(x))
        fading = recurrent_ops.softplus(self.decay(x))
        fading = fading.reshape(*beta.shape, -1)
        return beta, fading * self.rates[:, None]


def load_kimi_delta(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> GatedDelta:
    """The delta rule of layer `number`."""
    at, width, n_heads = f"blk.{number}.", facts.width, facts.n_heads(number)
    size, taps = facts.size("kda.head_dim"), facts.size("ssm.conv_kernel")
    inner = n_heads * size

    def low_rank(name: str) -> InTurn:
        first = Linear.of(claims, f"{at}ssm_{name}_a", size, width)
        return InTurn(first, Linear.of(claims, f"{at}ssm_{name}_b", inner, size))

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
            rates=claims.vector(f"{at}ssm_a", n_heads, 1),
        ),
        gate=low_rank("g"),
        norm=Norm(
            claims.vector(f"{at}ssm_norm.weight", size), None, traits.epsilon, False
        ),
        output=Linear.of(claims, f"{at}attn_output", width, inner),
        sizes=DeltaSizes(n_heads, n_heads, size, size),
        gating="sigmoid",
    )
