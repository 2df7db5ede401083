"""Read from the metadata how a mixture of experts chooses them."""

from __future__ import annotations

from typing import Any

from ..errors import FormatError
from ..settings import integer
from .facts import Facts
from .traits import Experts

__all__ = ["EXPERT_SIZE", "gating_of", "load_experts"]

EXPERT_SIZE = "expert_feed_forward_length"

GATING = "expert_gating_func"
GATINGS = ("", "softmax", "sigmoid", "softmax_of_chosen")
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


def load_experts(facts: Facts, **known: Any) -> Experts:
    """The experts that the metadata describes.

    Args:
        facts: the metadata.
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
    used = facts.count("expert_used_count", None, integer(1, count))
    if used > groups_used * (count // n_groups):
        raise FormatError(
            f"{facts.key('expert_used_count')} is {used}; expected at most the "
            f"{groups_used * (count // n_groups)} experts of the chosen groups"
        )
    known.setdefault("size", lambda layer: facts.layer_size(EXPERT_SIZE, layer))
    return Experts(
        count=count, used=used, n_groups=n_groups, groups_used=groups_used, **known
    )
