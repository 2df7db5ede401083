"""The integer programme: a type for each tensor, so that the sum of losses is least.

It is a knapsack of multiple choice: exactly one option of each tensor is taken, and the
sums of their sizes keep the limits.  HiGHS solves it, through SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Option", "cheapest"]

GAP = 1e-9
"""How far the answer may be from the best one, relative to it."""
FEWEST_ATTEMPTS = 8
"""Answers that exceed a limit by HiGHS's tolerance are refused this often."""


@dataclass(frozen=True)
class Option:
    """What a tensor may get.

    Attributes:
        loss: what it costs; not negative.
        sizes: what it adds to each sum that is limited; integers.
    """

    loss: float
    sizes: tuple[int, ...]

    def beats(self, other: Option) -> bool:
        """Whether it is no worse in any way."""
        pairs = zip(self.sizes, other.sizes, strict=True)
        return self.loss <= other.loss and all(a <= b for a, b in pairs)


def cheapest(
    tensors: Sequence[Sequence[Option]], limits: Sequence[int]
) -> list[int] | None:
    """The number of the option that each tensor gets; None: none keep the limits.

    Args:
        tensors: the options of each tensor; one at least.
        limits: the largest sum of each of the options' sizes.
    """
    kept = [_undominated(options) for options in tensors]
    sizes = np.array(
        [options[i].sizes for options, own in zip(tensors, kept, strict=True) for i in own],
        np.float64,
    ).reshape(-1, len(limits))
    losses = np.array(
        [options[i].loss for options, own in zip(tensors, kept, strict=True) for i in own]
    )
    allowed = np.array(limits, np.float64)
    for _ in range(FEWEST_ATTEMPTS):
        taken = _solved(losses, sizes, allowed, [len(own) for own in kept])
        if taken is None:
            return None
        excess = sizes[taken].sum(axis=0) - limits
        if (excess <= 0).all():
            first = np.cumsum([0, *(len(own) for own in kept[:-1])])
            return [own[t - f] for own, t, f in zip(kept, taken, first, strict=True)]
        allowed -= np.maximum(excess, 0)
    return None


def _undominated(options: Sequence[Option]) -> list[int]:
    """The numbers of the options that no other one beats; of equal ones, the first."""
    kept: list[int] = []
    order = sorted(range(len(options)), key=lambda i: (options[i].loss, options[i].sizes))
    for i in order:
        if not any(options[other].beats(options[i]) for other in kept):
            kept.append(i)
    return sorted(kept)


def _solved(
    losses: NDArray[np.float64],
    sizes: NDArray[np.float64],
    limits: NDArray[np.float64],
    counts: Sequence[int],
) -> NDArray[np.intp] | None:
    """The options that are taken, one of each tensor, as numbers among all options."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    n, tensor = len(losses), np.repeat(np.arange(len(counts)), counts)
    one_each = csr_array((np.ones(n), (tensor, np.arange(n))))
    scale = np.maximum(np.abs(limits), 1)
    found = milp(
        losses / (losses.max(initial=0) or 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint((sizes / scale).T, -np.inf, limits / scale),
        ],
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": GAP},
    )
    if found.x is None:
        return None
    taken: NDArray[np.intp] = np.flatnonzero(found.x > 0.5)
    return taken
