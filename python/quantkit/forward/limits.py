"""SwiGLU between limits: large gates and values of a feed-forward part are cut."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..settings import number
from . import ops
from .base import F32
from .claims import Claims
from .facts import Facts
from .feed_forward import Gated, Mixture, load_feed_forward, with_gating
from .layer import Part
from .layers import Gating
from .traits import Traits

__all__ = ["EXPERT_LIMIT", "OTHER_LIMIT", "limited", "load_limited"]

EXPERT_LIMIT, OTHER_LIMIT = "swiglu_clamp_exp", "swiglu_clamp_shexp"
"""Keys of the limits in experts, and in shared experts and dense parts."""

AT_LEAST_0 = number(0)
SMALLEST = 1e-6
"""A smaller limit means that there is none."""


def _limit_of(facts: Facts, key: str, layer: int) -> float | None:
    """The limit of a layer; None: there is none."""
    limit = facts.layer_number(key, layer, 0.0, AT_LEAST_0)
    return limit if limit > SMALLEST else None


def load_limited(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    *,
    before: bool = False,
    others: str | None = OTHER_LIMIT,
) -> Part:
    """The feed-forward part of layer `number`, between its limits.

    Args:
        facts, claims, number, traits: see `load_feed_forward`.
        before: see `limited`.
        others: the key of the limit in the shared expert and in a dense part; None:
            they have none.
    """
    part = load_feed_forward(facts, claims, number, traits)
    keys = EXPERT_LIMIT, others
    of_experts, of_others = (
        None if key is None else _limit_of(facts, key, number) for key in keys
    )
    return limited(part, of_experts, of_others, before=before)


def limited(
    part: Part,
    experts: float | None,
    other: float | None,
    *,
    before: bool = False,
) -> Part:
    """A part of SwiGLU between limits.

    Args:
        part: dense or a mixture of experts.
        experts: the limit in experts.
        other: that in the shared expert and in a dense part.
        before: whether gates are cut before SiLU instead of after it.
    """
    if isinstance(part, Gated):
        return replace(part, gating=_gating(other, before))
    if not isinstance(part, Mixture):
        return part
    return replace(
        part,
        experts=tuple(
            with_gating(expert, _gating(experts, before)) for expert in part.experts
        ),
        shared=part.shared and limited(part.shared, None, other, before=before),
    )


def _gating(limit: float | None, before: bool) -> Gating:
    if limit is None:
        return ops.silu
    return partial(_cut_before if before else _cut, limit=np.float32(limit))


def _cut(gate: F32, up: F32, *, limit: np.float32) -> F32:
    """min(silu(gate), limit) * up, with up cut to +-limit."""
    y: F32 = np.minimum(ops.silu(gate), limit) * np.clip(up, -limit, limit)
    return y


def _cut_before(gate: F32, up: F32, *, limit: np.float32) -> F32:
    """silu(min(gate, limit)) * up, with up cut to +-limit."""
    return ops.silu(np.minimum(gate, limit), np.clip(up, -limit, limit))
