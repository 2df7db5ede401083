"""Experts beside a dense feed-forward part, as Grok 2 adds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import F32
from .claims import Claims
from .facts import Facts
from .feed_forward import load_dense, load_feed_forward
from .layer import Part
from .traits import Traits

__all__ = ["Beside", "load_grok"]

SHARE = np.float32(2**0.5 / 2)


@dataclass(frozen=True)
class Beside:
    """The sum of two parts, over the square root of 2.

    Attributes:
        one, other: both read the same input.
    """

    one: Part
    other: Part

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        y = self.one(x)
        y += self.other(x)
        y *= SHARE
        return y


def load_grok(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The feed-forward part of layer `number`; Grok 1 has experts alone."""
    experts = load_feed_forward(facts, claims, number, traits)
    if not claims.has(f"blk.{number}.ffn_up.weight"):
        return experts
    return Beside(experts, load_dense(facts, claims, number, traits))
