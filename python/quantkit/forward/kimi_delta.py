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

__all__ = ["DeltaForm", "load_kimi_delta"]

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
class DeltaForm:
    """Which tensors the delta rule of an architecture has.

    Attributes:
        gate: the name of the gate's matrix; None: it has two, of a lower rank.
        decay: the same for the decay.
        is_flat: the rates have one axis, instead of one of size 1 after it.
        is_positive: the rates are stored without their sign.
    """

    gate: str | None = None
    decay: str | None = None
    is_flat: bool = False
    is_positive: bool = False


LOW_RANK = DeltaForm()
"""That of Kimi Linear."""


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
    decay: Linear | InTurn
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
    form: DeltaForm = LOW_RANK,
    bound: float | None = None,
) -> GatedDelta:
    """The delta rule of layer `number`.

    Args:
        facts: the metadata.
        claims: the tensors.
        number: the layer.
        traits: the family's traits.
        form: which tensors it has.
        bound: see `ComponentControls`.
    """
    at, width, n_heads = f"blk.{number}.", facts.width, facts.n_heads(number)
    size, taps = facts.size("kda.head_dim"), facts.size("ssm.conv_kernel")
    inner = n_heads * size

    def product(whole: str | None, name: str, bias: F32 | None) -> Linear | InTurn:
        if whole is not None:
            return Linear(claims.matrix(f"{at}{whole}.weight", inner, width), bias)
        first = Linear.of(claims, f"{at}ssm_{name}_a", size, width)
        second = claims.matrix(f"{at}ssm_{name}_b.weight", inner, size)
        return InTurn(first, Linear(second, bias))

    rates = claims.vector(f"{at}ssm_a", n_heads, *(() if form.is_flat else (1,)))
    decay_bias = claims.vector(f"{at}ssm_dt.bias", inner)
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
            decay=product(form.decay, "f", decay_bias),
            rates=-rates if form.is_positive else rates,
            bound=bound,
        ),
        gate=product(form.gate, "g", None),
        norm=Norm(
            claims.vector(f"{at}ssm_norm.weight", size), None, traits.epsilon, False
        ),
        output=Linear.of(claims, f"{at}attn_output", width, inner),
        sizes=DeltaSizes(n_heads, n_heads, size, size),
        gating="sigmoid",
    )
