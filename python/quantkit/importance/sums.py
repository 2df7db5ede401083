"""What is summed for a tensor: the columns of all that its matrices were multiplied by.

Sums are f64 here, and f32 in files.
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
        squares: f64 [matrices, cols], of the squares of each column's activations.
        values: f64 likewise, of the activations; None: not known, as in a .dat file.
        counts: int64 [matrices], how many rows of activations there were.

    A mixture of experts has a matrix for each expert, and counts the tokens that went
    there.  Anything else is one matrix: where a tensor is multiplied head by head, with
    the columns of all its heads in a row.
    """

    squares: F64
    values: F64 | None
    counts: I64

    @property
    def importance(self) -> F32:
        """The mean squares: f32 [matrices, cols], of one matrix [cols].

        Ones for a matrix (an expert) that no token reached, as in llama.cpp.
        """
        squares = self.squares.astype(np.float32)
        n = self.counts.astype(np.float32)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            means: F32 = np.where(n > 0, squares / n, np.float32(1))
        return means if len(means) > 1 else means[0]

    def times(self, factor: int) -> Sums:
        """Each row counted so many times."""
        values = None if self.values is None else self.values * factor
        return Sums(self.squares * factor, values, self.counts * factor)

    def plus(self, other: Sums) -> Sums:
        """The sums of both; one count for several matrices is that of each.

        Raises:
            FormatError: they have different shapes.
        """
        one, two = self.squares.shape, other.squares.shape
        n_matrices = max(len(self.counts), len(other.counts))
        fits = {len(self.counts), len(other.counts)} <= {1, n_matrices}
        if self.squares.size != other.squares.size or not fits:
            raise FormatError(f"{list(one)} sums do not fit {list(two)}")
        shape = (n_matrices, self.squares.size // n_matrices)
        values = None
        if self.values is not None and other.values is not None:
            values = self.values.reshape(shape) + other.values.reshape(shape)
        return Sums(
            self.squares.reshape(shape) + other.squares.reshape(shape),
            values,
            self.counts + other.counts,
        )
