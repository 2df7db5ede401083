"""Two stacks of layers that run in turn, each on a state of its own (HRM-Text).

The stream has the high and the low state side by side.  A stack starts from the sum of
both, and its result, normalized, is its new state.  Source: arXiv:2506.21734.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32
from .kept import Kept, State
from .layer import InSteps, Layer, Part
from .layers import Norm
from .ops import contiguous

__all__ = ["TwoStates", "in_cycles"]


@dataclass(frozen=True)
class TwoStates:
    """The first stream: the embedded tokens, and a state that is alike for all.

    Attributes:
        low: the low state [width].
    """

    low: F32

    @property
    def columns(self) -> int:
        """See `Opening.columns`."""
        return 2 * len(self.low)

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] -> [n, columns]."""
        return np.concatenate([x, np.broadcast_to(self.low, x.shape)], axis=1)


@dataclass(frozen=True)
class InCycle(InSteps):
    """A layer of one of the two stacks.

    Attributes:
        layer: the layer of hidden states.
        is_high: whether it is of the high stack.
        begins: whether it is the first of its stack, which adds both states.
        norm: of the result of the stack's last layer; None: it is another one.
    """

    layer: Layer
    is_high: bool
    begins: bool
    norm: Norm | None

    @property
    def residual_scale(self) -> float:
        """See `Layer.residual_scale`."""
        return self.layer.residual_scale

    @property
    def steps(self) -> tuple[Part, ...]:
        """See `Layer.steps`."""
        steps = self.layer.steps
        last = len(steps) - 1
        return tuple(
            partial(self._step, step, self.begins and i == 0, i == last)
            for i, step in enumerate(steps)
        )

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.layer.kept

    def alone(self) -> InCycle:
        """The layer for rows that are sequences of one token each."""
        return replace(self, layer=self.layer.alone())

    def _step(self, step: Part, begins: bool, ends: bool, stream: F32) -> F32:
        high, low = np.split(stream, 2, axis=1)
        x = high + low if begins else high if self.is_high else low
        x = step(contiguous(x))
        if ends and self.norm is not None:
            x = self.norm(x)
        return np.concatenate([x, low] if self.is_high else [high, x], axis=1)


def in_cycles(
    layers: tuple[Layer, ...], n_high: int, n_low: int, norm: Norm
) -> tuple[Layer, ...]:
    """The layers in the order in which they run.

    Args:
        layers: those of the low stack, and as many of the high one.
        n_high: the number of cycles, each of which ends with the high stack.
        n_low: how often the low stack runs in a cycle.
        norm: of the result of a stack.
    """
    half = len(layers) // 2

    def stack(own: tuple[Layer, ...], *, is_high: bool) -> tuple[Layer, ...]:
        return tuple(
            InCycle(layer, is_high, i == 0, norm if i == half - 1 else None)
            for i, layer in enumerate(own)
        )

    low, high = layers[:half], layers[half:]
    cycle = stack(low, is_high=False) * n_low + stack(high, is_high=True)
    return cycle * n_high
