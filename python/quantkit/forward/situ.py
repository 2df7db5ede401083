"""Kimi K3's feed-forward parts: the SiTU activation, and experts in a smaller space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..settings import number
from . import ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .feed_forward import Gated, Mixture, load_dense, load_mixture, with_gating
from .layer import Part
from .layers import Gating, Linear, Norm
from .traits import Experts, Traits

__all__ = ["load_situ_part"]

BETA, LINEAR_BETA = "activation.situ_beta", "activation.situ_linear_beta"
LATENT = "expert_latent_length"


@dataclass(frozen=True)
class LatentMixture:
    """Experts that work in a smaller space, and a shared one that does not.

    Attributes:
        down: makes the input of the experts; the router gets the whole one.
        experts: the experts, without the shared one.
        norm: of what the experts give.
        up: makes the output of it.
        shared: the shared expert.
    """

    down: Linear
    experts: Mixture
    norm: Norm
    up: Linear
    shared: Gated

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        scores = self.experts.router(x)
        inside = self.experts.mixed(self.down(x), scores)
        return self.up(self.norm(inside)) + self.shared(x)


def load_situ_part(facts: Facts, claims: Claims, layer: int, traits: Traits) -> Part:
    """The feed-forward part of a layer.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    gating = partial(
        _situ,
        beta=np.float32(facts.number(BETA, None, number(above=0))),
        linear_beta=np.float32(facts.number(LINEAR_BETA)),
    )
    experts = traits.experts
    assert experts is not None
    if layer < experts.first:
        dense = load_dense(facts, claims, layer, traits)
        assert isinstance(dense, Gated)
        return replace(dense, gating=gating)
    return _load_mixture(facts, claims, layer, traits, experts, gating)


def _load_mixture(
    facts: Facts,
    claims: Claims,
    layer: int,
    traits: Traits,
    experts: Experts,
    gating: Gating,
) -> LatentMixture:
    at, width, latent = f"blk.{layer}.ffn", facts.width, facts.size(LATENT)
    router = Linear.of(claims, f"{at}_gate_inp", experts.count, width)
    own = replace(experts, shared_size=lambda layer: 0)
    mixture = load_mixture(claims, at, latent, layer, traits, own, router)
    chosen = [with_gating(expert, gating) for expert in mixture.experts]
    inner = experts.shared_size(layer)
    weight = claims.vector(f"{at}_routed_norm.weight", latent)
    return LatentMixture(
        down=Linear.of(claims, f"{at}_routed_down", latent, width),
        experts=replace(mixture, experts=tuple(chosen)),
        norm=Norm(weight, None, traits.epsilon, centered=False),
        up=Linear.of(claims, f"{at}_routed_up", width, latent),
        shared=Gated(
            Linear.of(claims, f"{at}_gate_shexp", inner, width),
            Linear.of(claims, f"{at}_up_shexp", inner, width),
            Linear.of(claims, f"{at}_down_shexp", width, inner),
            gating,
        ),
    )


def _situ(gate: F32, up: F32, *, beta: np.float32, linear_beta: np.float32) -> F32:
    """beta tanh(gate / beta) sigmoid(gate) times linear_beta tanh(up / linear_beta).

    If `linear_beta` is not positive, `up` itself is the second factor.
    """
    y: F32 = beta * np.tanh(gate / beta) * ops.sigmoid(gate)
    if linear_beta > 0:
        up = linear_beta * np.tanh(up / linear_beta)
    y *= up
    return y
