"""The interfaces of weights and models in the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .kept import Kept, State

__all__ = [
    "F32",
    "Activations",
    "Array",
    "Config",
    "Head",
    "Matrix",
    "Model",
    "Weights",
]

Config = Mapping[str, Any]
"""A Hugging Face config.json."""

Array = NDArray[Any]
F32 = NDArray[np.float32]
"""Arrays of NumPy, or of a device if they implement NumPy's dispatch."""
Made = TypeVar("Made")


class Activations:
    """Activations that are the input of several matrices, with a cache for their use.

    A matrix may cache what it computes from them, such as packed codes.  So the values
    must not change.

    Attributes:
        values: f32 [n, width].
        tokens: which tokens of the sequence the rows belong to: [n]; None: all.
    """

    def __init__(self, values: F32, tokens: NDArray[np.intp] | None = None) -> None:
        self.values = values
        self.tokens = tokens
        self._made: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, x: F32 | Activations) -> Activations:
        """`x` itself, or wrapped if it is an array."""
        return x if isinstance(x, Activations) else cls(x)

    def made(self, key: Hashable, make: Callable[[F32], Made]) -> Made:
        """`make(values)`, cached by `key`."""
        if key not in self._made:
            self._made[key] = make(self.values)
        result: Made = self._made[key]
        return result


class Matrix(Protocol):
    """A weight matrix [n_rows, n_cols] in any GGUF type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols); all axes but the last are flattened into rows."""

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""

    def part(self, start: int, stop: int) -> Matrix:
        """Rows start..stop-1 as a matrix, without a copy."""

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols].

        The index may be in the host's memory even if the matrix is on a device.
        """


class Weights(Protocol):
    """The tensors of a model, by GGUF name.

    On a device, vectors and what matrices make are the device's arrays, and so is
    everything that the model computes.
    """

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor called `name`."""

    def matrix(self, name: str) -> Matrix:
        """The matrix called `name`."""

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`: f32 [n]."""

    def placed(self, values: Array) -> Array:
        """An array of the host, where `vector` has its own."""


class Head(Protocol):
    """An output head: like `Matrix`, but its product is the logits."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(vocabulary, width)."""

    def apply(self, x: F32 | Activations) -> F32:
        """The logits of hidden states x [n, width]: [n, vocabulary]."""

    def part(self, start: int, stop: int) -> Head:
        """The head of tokens start..stop-1."""


class Model(Protocol):
    """A model that can be run; safe to call from several threads."""

    @property
    def head(self) -> Head:
        """The output head."""

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """What it keeps of a sequence for the next token."""

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states, after the last norm.

        Args:
            tokens: one sequence [n], or several of one length [sequences, n], in the
                host's memory.

        Returns:
            [n, width]; of several sequences, one after the other.
        """
