"""Read from the metadata how a mixture of experts chooses them."""

from __future__ import annotations

from typing import Any

from ..errors import FormatError
from ..settings import checked, integer
from .facts import Facts
from .sizes import Size
from .traits import Experts

__all__ = ["EXPERT_SIZE", "gating_of", "load_experts", "load_weighted_experts"]

EXPERT_SIZE, USED = "expert_feed_forward_length", "expert_used_count"
SHARED_COUNT = "expert_shared_count"

GATING = "expert_gating_func"
GATINGS = ("", "softmax", "sigmoid", "softmax_of_chosen", "sqrt_softplus")
"""By the number in the metadata; 0 is none."""


def gating_of(facts: Facts, unstated: str | None = None) -> str:
    """The gating function of the experts; see `Experts.gating`.

    Args:
        facts: the metadata.
        unstated: that of files that do not state one; None: all files do.

    Raises:
        FormatError: the metadata states none, or a number that none has.
    """
    number = facts.count(GATING, 0, integer(0, len(GATINGS) - 1))
    if not number and unstated is None:
        raise FormatError(f"the metadata lacks {facts.key(GATING)}")
    return GATINGS[number] or str(unstated)


def load_experts(facts: Facts, layer: int | None = None, **known: Any) -> Experts:
    """The experts that the metadata describes.

    Args:
        facts: the metadata.
        layer: the layer that they are for; None: all have as many.
        known: attributes of `Experts` that the family knows.  By default the width
            inside an expert is that of its key.

    Raises:
        FormatError: a key is missing or out of range.
    """
    count = facts.size("expert_count")
    n_groups = facts.count("expert_group_count", 1) or 1
    if count % n_groups:
        raise FormatError(
            f"{facts.key('expert_group_count')} is {n_groups}; expected a divisor of "
            f"{facts.key('expert_count')}, {int(count)}"
        )
    groups_used = 1
    if n_groups > 1:
        key = "expert_group_used_count"
        groups_used = facts.count(key, None, integer(1, n_groups))
    values = None if layer is None else facts.layer_values(USED)
    if values is None or layer is None:
        used = facts.count(USED, None, integer(1, count))
    else:
        used = values[layer]
        checked(used, integer(1, count), f"{facts.key(USED)}[{layer}]")
    if used > groups_used * (count // n_groups):
        raise FormatError(
            f"{facts.key('expert_used_count')} is {used}; expected at most the "
            f"{groups_used * (count // n_groups)} experts of the chosen groups"
        )
    known.setdefault("size", lambda layer: facts.layer_size(EXPERT_SIZE, layer))
    return Experts(
        count=count, used=used, n_groups=n_groups, groups_used=groups_used, **known
    )


def load_weighted_experts(
    facts: Facts, unstated: str | None = None, **known: Any
) -> Experts:
    """Experts whose weights the metadata says how to compute.

    By default, the shared expert is as wide as `expert_shared_count` experts.

    Args:
        facts: the metadata.
        unstated: see `gating_of`.
        known: see `load_experts`.

    Raises:
        FormatError: a key is missing or out of range.
    """
    if "gating" not in known:
        known["gating"] = gating_of(facts, unstated)
    known.setdefault("normed", facts.flag("expert_weights_norm", False))
    known.setdefault("shared_size", lambda layer: _shared_size(facts, layer))
    return load_experts(
        facts,
        scale=facts.number("expert_weights_scale", 1.0) or 1.0,
        first=facts.count("leading_dense_block_count", 0),
        **known,
    )


def _shared_size(facts: Facts, layer: int) -> Size | int:
    """The width inside the shared expert, which is several in one; 0: there is none."""
    if not facts.count(SHARED_COUNT, 0):
        return 0
    return facts.layer_size(EXPERT_SIZE, layer) * facts.size(SHARED_COUNT)
