"""The softmax of rows of logits, added tile by tile, where the logits are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import new_rows
from ..forward.base import F32, Array
from ..forward.engines import engine_of, on_host

__all__ = ["Excess", "Softmax", "SoftmaxRows"]

F64 = NDArray[np.float64]
Targets = NDArray[np.integer[Any]]

WORDS = 3
"""The state of a row, see `new_rows`, in words of 8 bytes: devices have no structs."""


@dataclass(frozen=True)
class SoftmaxRows:
    """What is known of rows of logits, in the host's memory.

    Attributes:
        rows: the fields total, top, highest and wanted; see `new_rows`.
    """

    rows: NDArray[np.void]

    @property
    def total(self) -> F64:
        """The sum of exp(logit - highest logit): f64 [n]."""
        total: F64 = self.rows["total"]
        return total

    @property
    def top(self) -> NDArray[np.int64]:
        """The token with the highest logit: i64 [n]."""
        top: NDArray[np.int64] = self.rows["top"]
        return top

    @property
    def log_total(self) -> F64:
        """The logarithm of the softmax's denominator: f64 [n]."""
        highest = self.rows["highest"].astype(np.float64)
        logarithm: F64 = highest + np.log(self.total)
        return logarithm

    @property
    def nll(self) -> F64:
        """The negative log likelihood of the targets: f64 [n]."""
        nll: F64 = self.log_total - self.rows["wanted"]
        return nll


class Softmax:
    """The softmax of n rows of logits.

    Args:
        targets: the actual token of each row, in the host's memory.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets: Array = np.ascontiguousarray(targets, np.int64)
        self._state: Array = new_rows(len(targets))

    def add(self, logits: F32, start: int) -> None:
        """Add the logits of a tile that starts at token `start`."""
        self.stay_beside(logits)
        engine_of(logits).add_logits(logits, start, self._targets, self._state)

    def add_beside(
        self, base: Softmax, logits: F32, base_logits: F32, start: int, excess: Excess
    ) -> None:
        """Add a tile of the model's logits, the base's to `base`, and S to `excess`.

        Both models have the same targets.
        """
        self.stay_beside(logits)
        base.stay_beside(logits)
        engine_of(logits).compare_logits(
            *(logits, base_logits, start, self._targets),
            (self._state, base._state),
            excess.beside(logits),
        )

    def stay_beside(self, logits: F32) -> None:
        """Keep the state where the logits are."""
        if not isinstance(logits, np.ndarray) and isinstance(self._state, np.ndarray):
            words = self._state.view(np.float64).reshape(-1, WORDS)
            self._state = np.asarray(words, like=logits)
            self._targets = np.asarray(self._targets, like=logits)

    def found(self) -> SoftmaxRows:
        """The rows after all tiles."""
        if isinstance(self._state, np.ndarray) and self._state.dtype.fields:
            return SoftmaxRows(self._state)
        words = on_host(self._state)
        return SoftmaxRows(words.reshape(-1).view(new_rows(0).dtype))


class Excess:
    """S of n rows: see `likelihood`."""

    def __init__(self, n: int) -> None:
        self._values: Array = np.zeros(n, np.float64)

    def beside(self, logits: F32) -> Array:
        """The values so far, where the logits are, to be added to."""
        if not isinstance(logits, np.ndarray) and isinstance(self._values, np.ndarray):
            self._values = np.asarray(self._values, like=logits)
        return self._values

    def found(self) -> F64:
        """The values after all tiles, in the host's memory."""
        return on_host(self._values)
