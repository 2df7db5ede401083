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

GAP = 1e-6
"""How far the sum of losses may be from the least one, relative to it."""
MOST_ATTEMPTS = 8
"""HiGHS keeps limits to a tolerance.  An answer beyond one is refused, and the limit
lowered by the excess, so often; then the smallest options are taken."""


@dataclass(frozen=True)
class Option:
    """What a tensor may get.

    Attributes:
        loss: what it costs; not negative.
        sizes: what it adds to each sum that is limited.
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

    Example:
        >>> small, large = Option(0.9, (10,)), Option(0.1, (30,))
        >>> cheapest([[small, large], [small]], [40])
        [1, 0]
    """
    kept = [
        (number, i)
        for number, options in enumerate(tensors)
        for i in _undominated(options)
    ]
    options = [tensors[number][i] for number, i in kept]
    sizes = np.array([each.sizes for each in options], np.int64)
    programme = _Programme(
        np.array([number for number, _ in kept]),
        np.array([each.loss for each in options]),
        sizes,
    )
    smallest = [min(range(len(own)), key=lambda i: own[i].sizes) for own in tensors]
    least = [own[i].sizes for own, i in zip(tensors, smallest, strict=True)]
    if (np.sum(least, axis=0) > limits).any():
        return None
    allowed = np.array(limits, np.int64)
    for _ in range(MOST_ATTEMPTS):
        taken = programme.solved(allowed)
        if taken is None:
            break
        excess = sizes[taken].sum(axis=0) - limits
        if (excess <= 0).all():
            return [kept[each][1] for each in taken]
        allowed -= np.maximum(excess, 0)
    return smallest


def _undominated(options: Sequence[Option]) -> list[int]:
    """The numbers of the options that no other one beats; of equal ones, the first."""
    kept: list[int] = []
    best_first = sorted(
        range(len(options)), key=lambda i: (options[i].loss, options[i].sizes)
    )
    for i in best_first:
        if not any(options[other].beats(options[i]) for other in kept):
            kept.append(i)
    return kept


@dataclass(frozen=True, eq=False)
class _Programme:
    """What HiGHS is asked.

    Attributes:
        tensor: the number of the tensor of each option, ascending: [n].
        losses: of the options: [n].
        sizes: of the options: [n, limits].
    """

    tensor: NDArray[np.intp]
    losses: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def solved(self, limits: NDArray[np.int64]) -> NDArray[np.intp] | None:
        """The options that are taken, one of each tensor; None: none keep the limits.

        HiGHS's tolerances are absolute.  So sizes are integers, in the largest units
        that divide all, and no answer has a sum of losses below 1.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        n = len(self.losses)
        one_each = csr_array((np.ones(n), (self.tensor, np.arange(n))))
        units = np.maximum(np.gcd.reduce(self.sizes, axis=0), 1)
        most = np.minimum(limits, self.sizes.sum(axis=0))  # for HiGHS, 1e20 is infinite
        starts = np.flatnonzero(np.diff(self.tensor, prepend=-1))
        least = np.minimum.reduceat(self.losses, starts).sum()
        found = milp(
            self.losses / (least or self.losses.max() or 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint((self.sizes // units).T, -np.inf, most // units),
            ],
            integrality=np.ones(n),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": GAP},
        )
        return None if found.x is None else np.flatnonzero(found.x > 0.5)
