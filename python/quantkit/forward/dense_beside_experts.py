"""A dense feed-forward part and a mixture of experts, added, each with own norms.

Gemma 4's models with experts have it.  Source: llama.cpp, build 11434 (gemma4.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import F32
from .claims import Claims
from .facts import Facts
from .feed_forward import Mixture, load_dense, load_mixture
from .layer import Part
from .layers import Linear, Norm
from .traits import Experts, Traits

__all__ = ["DenseBesideExperts", "load_dense_beside_experts"]


@dataclass(frozen=True)
class DenseBesideExperts:
    """What a dense part gives, plus what experts give; all read the hidden states.

    Attributes:
        dense, dense_norm, dense_out_norm: the dense part, and its norms.
        experts, experts_norm, experts_out_norm: the same for the experts.
        router_norm: the norm of the router's input.
    """

    dense: Part
    dense_norm: Norm
    dense_out_norm: Norm
    experts: Mixture
    experts_norm: Norm
    experts_out_norm: Norm
    router_norm: Norm

    def __call__(self, x: F32) -> F32:
        """Hidden states x [n, width] -> [n, width]."""
        scores = self.experts.router(self.router_norm(x))
        y = self.experts_out_norm(self.experts.mixed(self.experts_norm(x), scores))
        y += self.dense_out_norm(self.dense(self.dense_norm(x)))
        return y


def load_dense_beside_experts(
    facts: Facts, claims: Claims, number: int, traits: Traits, how: Experts
) -> DenseBesideExperts:
    """The feed-forward part of layer `number`.

    The router's input is scaled, too: by a vector, and by 1 / sqrt(width).
    """
    at, width = f"blk.{number}.", facts.width

    def norm(name: str) -> Norm:
        weight = claims.vector(f"{at}{name}.weight", width)
        return Norm(weight, None, traits.epsilon, centered=False)

    scale = claims.vector(f"{at}ffn_gate_inp.scale", width)
    router = Linear(claims.table(f"{at}ffn_gate_inp.weight", how.count, width))
    return DenseBesideExperts(
        dense=load_dense(facts, claims, number, traits),
        dense_norm=norm("ffn_norm"),
        dense_out_norm=norm("post_ffw_norm_1"),
        experts=load_mixture(
            claims, f"{at}ffn", width, number, traits, how, router=router
        ),
        experts_norm=norm("pre_ffw_norm_2"),
        experts_out_norm=norm("post_ffw_norm_2"),
        router_norm=Norm(
            scale * np.float32(width**-0.5), None, traits.epsilon, centered=False
        ),
    )
