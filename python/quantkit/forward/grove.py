"""Experts in groups, where each group has a small expert of its own (GroveMoE).

As in llama.cpp, the experts of groups get what the other experts give, and the weight
of group g's is computed from the score of expert g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .feed_forward import Gated, Mixture, load_feed_forward
from .layers import Linear, gating_named
from .ops import softmax
from .routing import by_number
from .sizes import Size
from .traits import Traits

__all__ = ["GROUP_SCALE", "GROUP_SIZE", "PER_GROUP", "Grove", "load_grove"]

GROUP_SIZE = "expert_chunk_feed_forward_length"
GROUP_SCALE, PER_GROUP = "expert_group_scale", "experts_per_group"


@dataclass(frozen=True)
class Grove:
    """Experts, and those of their groups.

    Attributes:
        experts: the experts that are chosen.
        of_groups: the expert of each group.
        per_group: how many experts a group has.
        scale: multiplies what the groups' experts give.
    """

    experts: Mixture
    of_groups: tuple[Gated, ...]
    per_group: int
    scale: float

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        scores = self.experts.router(x)
        inside = self.experts.mixed(x, scores)
        chosen, _ = self.experts.chosen(scores)
        groups = chosen[:, : len(self.of_groups)] // self.per_group
        share = softmax(np.take_along_axis(scores, groups, axis=-1))
        y = np.zeros_like(inside)
        for group, places in by_number(_once(groups), len(self.of_groups)):
            weight = (share * (groups == group)).sum(axis=-1)
            token = places // groups.shape[1]
            own = self.of_groups[group](Activations(inside[token], token))
            y[token] += weight[token, None] * own
        y *= np.float32(self.scale)
        y += inside
        return y


def _once(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """The groups of each token [n, used], with -1 where one is there again."""
    once: NDArray[np.intp] = groups.copy()
    for place in range(1, groups.shape[1]):
        again = (groups[:, :place] == groups[:, place : place + 1]).any(axis=1)
        once[:, place] = np.where(again, -1, groups[:, place])
    return once


def load_grove(facts: Facts, claims: Claims, number: int, traits: Traits) -> Grove:
    """The feed-forward part of layer `number`.

    Raises:
        FormatError: the experts do not form groups.
    """
    experts = load_feed_forward(facts, claims, number, traits)
    assert isinstance(experts, Mixture)
    per_group = facts.size(PER_GROUP)
    if experts.how.count % per_group:
        raise FormatError(
            f"{facts.key(PER_GROUP)} is {int(per_group)}; expected a divisor of "
            f"{facts.key('expert_count')}, {int(experts.how.count)}"
        )
    return Grove(
        experts=experts,
        of_groups=_of_groups(facts, claims, number, traits, per_group),
        per_group=int(per_group),
        scale=facts.number(GROUP_SCALE),
    )


def _of_groups(
    facts: Facts, claims: Claims, number: int, traits: Traits, per_group: Size
) -> tuple[Gated, ...]:
    """The experts of the groups of layer `number`."""
    at, width, inner = f"blk.{number}.ffn_", facts.width, facts.size(GROUP_SIZE)
    n_groups = facts.size("expert_count") // per_group

    def stack(part: str, n_rows: Size, n_cols: Size) -> list[Linear]:
        name = f"{at}{part}_chexps.weight"
        matrix = claims.matrix(name, n_groups, n_rows, n_cols)
        return [
            Linear(matrix.part(i * n_rows, (i + 1) * n_rows)) for i in range(n_groups)
        ]

    gates, ups = stack("gate", inner, width), stack("up", inner, width)
    downs = stack("down", width, inner)
    parts = zip(gates, ups, downs, strict=True)
    return tuple(Gated(*each, gating_named(traits.activation)) for each in parts)
