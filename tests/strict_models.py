"""Models whose weights are on the device of `StrictArray`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantkit import _native
from quantkit.forward.base import Activations, Matrix, Weights
from quantkit.forward.engines import Engine, use_engine

from .strict_arrays import StrictArray, strict, unwrapped, wrapped

__all__ = ["StrictWeights"]

F32 = NDArray[np.float32]


def _on_memory(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `_native` on the memory of arrays on the device, and no others."""

    @wraps(function)
    def call(*arrays: Any, **how: Any) -> Any:
        for given in (*arrays, *how.values()):
            assert not isinstance(given, np.ndarray), "an array of the host"
        backend = _native.active_backend()
        made = function(*unwrapped(arrays), backend=backend, **unwrapped(how))
        return None if made is None else wrapped(made)

    return call


def _with_state(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `_native.softmax` on states that are words; see `Softmax`."""

    def state_of(words: Any) -> Any:
        if isinstance(words, tuple):
            return tuple(map(state_of, words))
        return words.reshape(-1).view(_native.new_rows(0).dtype)

    @wraps(function)
    def call(*arrays: Any, **how: Any) -> Any:
        is_alone = function is _native.add_logits
        where = len(arrays) - (1 if is_alone else 2)
        states = state_of(arrays[where])
        function(*arrays[:where], states, *arrays[where + 1 :], **how)

    return call


def best_logits(
    logits: F32, start: int, best: F32, tokens: NDArray[np.int64], backend: object
) -> None:
    """See `_device.best_logits`."""
    columns = np.broadcast_to(np.arange(start, start + logits.shape[1]), logits.shape)
    values = np.concatenate([best, logits], axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, : best.shape[1]]
    both = np.concatenate([tokens, columns], axis=1)
    tokens[...] = np.take_along_axis(both, order, axis=1)
    best[...] = np.take_along_axis(values, order, axis=1)


_SOFTMAX = {
    "add_logits": _with_state(_native.add_logits),
    "best_logits": best_logits,
    "compare_logits": _with_state(_native.compare_logits),
}
use_engine(
    StrictArray,
    Engine.of(SimpleNamespace(**{**vars(_native), **_SOFTMAX}), _on_memory),
)


@dataclass(frozen=True)
class StrictMatrix:
    """A matrix whose products and rows are on the device; see `forward.base.Matrix`."""

    inner: Matrix

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols)."""
        return self.inner.shape

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] on the device times the transpose: [n, n_rows], there too."""
        given: Any = Activations.of(x).values
        return strict(self.inner.apply(given.memory))

    def part(self, start: int, stop: int) -> StrictMatrix:
        """Rows start..stop-1 as a matrix."""
        return StrictMatrix(self.inner.part(start, stop))

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, which may be on either side: on the device."""
        return strict(self.inner.rows(unwrapped(index)))


@dataclass(frozen=True)
class StrictWeights:
    """Weights of the host on the device; see `forward.base.Weights`."""

    inner: Weights

    def __contains__(self, name: object) -> bool:
        return name in self.inner

    def matrix(self, name: str) -> StrictMatrix:
        """The matrix called `name`."""
        return StrictMatrix(self.inner.matrix(name))

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`."""
        return strict(self.inner.vector(name))

    def placed(self, values: NDArray[Any]) -> NDArray[Any]:
        """An array of the host, on the device."""
        return strict(values)
