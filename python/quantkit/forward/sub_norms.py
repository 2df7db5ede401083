"""Norms inside of a layer's parts: before the last matrix of each (BitNet)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .attention import Attention, load_attention
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .feed_forward import Gated, load_dense
from .layers import Linear, Norm, normed
from .traits import Traits

__all__ = ["NormedLinear", "load_normed_attention", "load_normed_feed_forward"]


@dataclass(frozen=True)
class NormedLinear(Linear):
    """A linear map of normalized inputs.

    Attributes:
        norm: the norm of its input; None: no norm.
    """

    norm: Norm | None = None

    def __call__(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] -> [n, n_rows]."""
        return super().__call__(normed(Activations.of(x).values, self.norm))


def load_normed_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Attention:
    """The attention of layer `number`, with a norm before its output projection."""
    attention = load_attention(facts, claims, number, traits)
    return replace(
        attention, output=_normed(claims, number, "attn_sub", attention.output, traits)
    )


def load_normed_feed_forward(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Gated:
    """The feed-forward part of layer `number`, with a norm before its last matrix."""
    part = load_dense(facts, claims, number, traits)
    assert isinstance(part, Gated)
    return replace(part, down=_normed(claims, number, "ffn_sub", part.down, traits))


def _normed(
    claims: Claims, number: int, name: str, linear: Linear, traits: Traits
) -> NormedLinear:
    """The linear map with the norm `name` of layer `number` before it."""
    width = linear.matrix.shape[1]
    norm = Norm.of(claims, f"blk.{number}.{name}_norm", (width,), traits)
    return NormedLinear(linear.matrix, linear.bias, norm)
