"""What each tensor costs in each type: some are measured, the others follow from them.

A small divergence grows with the square of what moves the outputs, so with the squared
error of the tensor.  Where the error is large it does not.  So a type whose error is
far above what was measured is measured, too, before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import log

import numpy as np

from ..forward.base import F32
from ..types import QuantType
from .drawing import divergence

__all__ = ["Measured", "Sensitivity", "loss_alone", "loss_together"]

FAR = 2.0
"""How many times the error of a measured type another one may have."""
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Measured:
    """A tensor in a type, quantized alone.

    Attributes:
        shift: what it moves predictions by: [positions, tokens].
    """

    shift: F32

    @cached_property
    def kld(self) -> float:
        """The KL divergence of that, in nats per token."""
        return divergence(self.shift)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What a tensor costs.

    Attributes:
        errors: the squared error of the tensor in each type that it may get.
        measured: what it moves predictions by, in some types; one at least.
        gain: what calibration multiplies the divergence by.
    """

    errors: Mapping[QuantType, float]
    measured: Mapping[QuantType, Measured]
    gain: float = 1.0

    def loss(self, type: QuantType) -> float:
        """The divergence that is expected in a type."""
        near = self._near(type)
        return self.measured[near].kld * self._growth(type, near)

    def moved(self, type: QuantType) -> F32:
        """What it is expected to move predictions by in a type."""
        near = self._near(type)
        factor = np.float32(self._growth(type, near) ** 0.5)
        moved: F32 = self.measured[near].shift * factor
        return moved

    def is_far(self, type: QuantType) -> bool:
        """Whether the error of a type is far above those of measured types."""
        return self.errors[type] > FAR * self.errors[self._near(type)]

    def with_measured(self, type: QuantType, measured: Measured) -> Sensitivity:
        """The same with one more type."""
        return replace(self, measured={**self.measured, type: measured})

    def _growth(self, type: QuantType, near: QuantType) -> float:
        """What the divergence grows by, from a measured type."""
        return self.gain * self.errors[type] / self.errors[near]

    def _near(self, type: QuantType) -> QuantType:
        """The measured type whose error is nearest."""

        def distance(other: QuantType) -> float:
            errors = self.errors[type], self.errors[other]
            one, two = (log(max(error, TINY)) for error in errors)
            return abs(one - two)

        return min(self.measured, key=distance)


def loss_alone(
    found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
) -> float:
    """The divergence of a mix as a sum over tensors: as if they did not interact."""
    return sum(found[name].loss(type) for name, type in types.items())


def loss_together(
    found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
) -> float:
    """The divergence of what all tensors of a mix move predictions by, added up."""
    if not types:
        return 0.0
    moved = (found[name].moved(type) for name, type in types.items())
    return divergence(reduce(np.add, moved))
