"""The sums of a tensor's activations, per matrix and column.

Sums are f64 in memory and f32 in files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..by_value import ByValue
from ..errors import FormatError

__all__ = ["Sums"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sums(ByValue):
    """The sums of one tensor.

    Attributes:
        squares: f64 [matrices, cols], sums of the squared activations of each column.
        values: f64 [matrices, cols], sums of the activations; None: unknown, as in a
            .dat file.
        counts: int64 [matrices], the number of rows of activations.

    A mixture of experts has one matrix per expert, which counts the expert's tokens.
    Other tensors have one matrix; if a tensor is multiplied per head, it has the
    columns of all heads.
    """

    squares: F64
    values: F64 | None
    counts: I64

    @property
    def importance(self) -> F32:
        """The mean squares: f32 [matrices, cols]; [cols] if there is one matrix.

        Ones for a matrix (expert) that no token reached, as in llama.cpp.
        """
        squares = self.squares.astype(np.float32)
        n = self.counts.astype(np.float32)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            means: F32 = np.where(n > 0, squares / n, np.float32(1))
        return means if len(means) > 1 else means[0]

    def times(self, factor: int) -> Sums:
        """The sums with each row counted `factor` times."""
        values = None if self.values is None else self.values * factor
        return Sums(self.squares * factor, values, self.counts * factor)

    def plus(self, other: Sums) -> Sums:
        """Add other sums; a single count applies to every matrix.

        Raises:
            FormatError: the shapes differ.
        """
        one, two = self.squares.shape, other.squares.shape
        n_matrices = max(len(self.counts), len(other.counts))
        fits = {len(self.counts), len(other.counts)} <= {1, n_matrices}
        if self.squares.size != other.squares.size or not fits:
            raise FormatError(f"sums of shape {list(one)} do not match {list(two)}")
        shape = (n_matrices, self.squares.size // n_matrices)
        values = None
        if self.values is not None and other.values is not None:
            values = self.values.reshape(shape) + other.values.reshape(shape)
        return Sums(
            self.squares.reshape(shape) + other.squares.reshape(shape),
            values,
            self.counts + other.counts,
        )
