"""How broad a calibration text is, and the warning about a narrow one.

A text is compared with the built-in mixture, by the inputs that both give to some
matrices of the model.  docs/calibration.md, "Which text", has the distances of various
texts, from which the threshold is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..tokens.texts import Tokens

__all__ = ["FAR", "Breadth", "breadth_of", "distance"]

F64 = NDArray[np.float64]

FAR = 0.22
"""The distance from the mixture at which a text is narrow.  All measured texts of one
kind are farther away, and parts of the mixture itself are nearer.
"""

LEAST_SHARE = 1e-12
"""Shares of columns are at least this, so that the logarithm of a column that is always
0 is finite."""


@dataclass(frozen=True)
class Breadth:
    """What a calibration text covers.

    Attributes:
        n_tokens: the number of its tokens.
        n_distinct: the number of different tokens.
        distance: the mean distance from the mixture; see `distance`.
    """

    n_tokens: int
    n_distinct: int
    distance: float

    @property
    def warning(self) -> str | None:
        """A sentence for the user if the text is narrow."""
        if self.distance < FAR:
            return None
        return (
            f"the calibration text is narrow: {self.n_tokens} tokens, "
            f"{self.n_distinct} of them different, and a distance of "
            f"{self.distance:.2f} from the built-in mixture (narrow from {FAR} on); on "
            "other kinds of text the file gains less; add texts of other kinds, or the "
            "built-in mixture"
        )


def breadth_of(
    tokens: Tokens, squares: Mapping[str, F64], mixture: Mapping[str, F64]
) -> Breadth:
    """Compare a text with the mixture.

    Args:
        tokens: of the text: integers of any shape.
        squares: for some tensors, the sum over the text's tokens of the squares of each
            input: f64 [n_cols].  The first token of each sequence must be left out: its
            inputs are much larger, and hardly depend on the text.
        mixture: the same of the mixture.

    Raises:
        ShapeError: the tensors or their columns differ, or there are none.
    """
    if not squares or squares.keys() != mixture.keys():
        raise ShapeError("expected the same tensors of both texts, and at least one")
    distances = [distance(squares[name], mixture[name]) for name in squares]
    return Breadth(tokens.size, len(np.unique(tokens)), float(np.mean(distances)))


def distance(a: F64, b: F64) -> float:
    """The mean over the columns of |ln(p / q)|.

    p and q are the column's shares of the sums of `a` and `b`, so the number of tokens
    that were summed does not matter, beyond the noise of a short text.

    Args:
        a: sums of squares: f64 [n_cols].
        b: likewise.

    Raises:
        ShapeError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ShapeError(f"sums of shapes {a.shape} and {b.shape}; expected the same")
    return float(np.abs(np.log(_shares(a)) - np.log(_shares(b))).mean())


def _shares(sums: F64) -> F64:
    total = sums.sum()
    if not total:  # inputs that are all 0 say nothing
        return np.full(sums.shape, 1 / sums.size)
    shares: F64 = np.maximum(sums / total, LEAST_SHARE)
    return shares
