"""Weights without data, to check a model's tensors before any of them is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import F32, Activations, Array

__all__ = ["Outline"]


@dataclass(frozen=True)
class Ones:
    """A matrix of ones, which takes no memory; see `base.Matrix`."""

    shape: tuple[int, int]

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""
        total = Activations.of(x).values.sum(axis=-1, keepdims=True)
        return np.broadcast_to(total, (len(total), self.shape[0]))

    def part(self, start: int, stop: int) -> Ones:
        """Rows start..stop-1 as a matrix."""
        return Ones((stop - start, self.shape[1]))

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows at `index`: f32 [len(index), n_cols]."""
        return np.broadcast_to(np.float32(1), (len(index), self.shape[1]))


@dataclass(frozen=True)
class Outline:
    """Tensors of ones with the shapes of a model's; see `base.Weights`."""

    shapes: Mapping[str, tuple[int, ...]]

    def __contains__(self, name: object) -> bool:
        """Whether the model has a tensor called `name`."""
        return name in self.shapes

    def matrix(self, name: str) -> Ones:
        """The matrix called `name`."""
        *rows, n_cols = self.shapes[name]
        return Ones((math.prod(rows), n_cols))

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`: f32 [n]."""
        return np.broadcast_to(np.float32(1), math.prod(self.shapes[name]))

    def placed(self, values: Array) -> Array:
        """The same array."""
        return values
