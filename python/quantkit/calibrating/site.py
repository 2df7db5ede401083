"""A site: the sums of an input, and the inputs on held-out text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .._native import gram
from .measuring import Held
from .sums import F64, Found, Rows, Sums

__all__ = ["Quadratic", "Site", "joined"]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The expected squared error of a matrix's outputs, as a function of the matrix.

    Attributes:
        h: the mean of seen seen^T: f64 [n_cols, n_cols], symmetric.
        c: the mean of exact seen^T; None: as `h`.
        lag: the mean of lag seen^T: f64 [width, n_cols]; None: without lag.
    """

    h: F64
    c: F64 | None
    lag: F64 | None

    @property
    def level(self) -> float:
        """The mean of the diagonal of `h`."""
        return float(np.trace(self.h)) / len(self.h)


@dataclass(eq=False)
class Site:
    """What is known of the inputs that one or several parts share.

    Attributes:
        sums: over ordinary tokens: those after the first position.
        n_all, n_all_held: the number of ordinary tokens in the text, and of those held
            out; an expert sees some of them.
        per_chunk: ordinary tokens for each first one: the length of a chunk.
        held: held-out ordinary tokens.
        alone, alone_held: tokens at the first position, and those held out.
        n_alone, n_alone_held: how many there are in the text.
    """

    sums: Sums
    n_all: int
    n_all_held: int
    per_chunk: int
    n_alone: int
    n_alone_held: int
    held: list[Rows] = field(default_factory=list)
    alone: Rows | None = None
    alone_held: Rows | None = None

    def add_alone(self, found: Found, is_held_out: NDArray[np.bool_]) -> None:
        """Take the tokens at the first position."""
        self.alone = found.chosen(~is_held_out)
        self.alone_held = found.chosen(is_held_out)

    def quadratic(self, weight: float, prior: F64 | None = None) -> Quadratic:
        """The error as the calibration text shows it.

        Args:
            weight: of the first position.
            prior: added to the sum of seen seen^T, as of tokens that are the same in
                both streams; None: nothing.
        """
        sums, n = self.sums, self.n_all
        extra = np.zeros(()) if prior is None else prior
        h = (sums.squares + extra) / n
        c = None if sums.cross is None else (sums.cross + _symmetric(extra)) / n
        lag = None if sums.lag is None else sums.lag / n
        if weight and self.alone is not None and len(self.alone):
            factor = weight / (self.per_chunk * self.n_alone)
            seen, exact, behind = self.alone.seen, self.alone.exact, self.alone.lag
            h += factor * gram(seen, seen, 0, sums.n_cols)
            if c is not None:
                c += factor * gram(exact, seen, 0, sums.n_cols)
            if lag is not None and behind is not None:
                lag += factor * gram(behind, seen, 0, behind.shape[1])
        return Quadratic(_symmetric(h), c, lag)

    def held_out(self, weight: float) -> list[Held]:
        """What errors are measured on, with a weight of the first position."""
        held = []
        if rows := joined(self.held):
            held.append(Held(rows, 1 / self.n_all_held))
        first, n_first = self.alone_held, self.n_alone_held
        if not n_first:  # every text begins with the same token
            first, n_first = self.alone, self.n_alone
        if weight and first is not None and len(first):
            held.append(Held(first, weight / (self.per_chunk * n_first)))
        return held

    def mean_squares(self) -> F64:
        """The mean square of each input over all positions: f64 [n_cols]."""
        total = self.sums.squares.diagonal() / max(self.sums.n_tokens, 1)
        if self.alone is None or not len(self.alone):
            return np.array(total)
        first = np.square(self.alone.seen.astype(np.float64)).mean(axis=0)
        n = self.per_chunk
        mean: F64 = (total * (n - 1) + first) / n
        return mean


def _symmetric(upper: F64) -> F64:
    """The matrix whose upper triangle is given; a number is 0."""
    if not upper.ndim:
        return upper
    whole: F64 = np.triu(upper) + np.triu(upper, 1).T
    return whole


def joined(rows: Iterable[Rows]) -> Rows | None:
    """The rows of several sequences; None: there are none."""
    some = [each for each in rows if len(each)]
    return Rows.joined(some) if some else None
