"""A site: the sums of an input, and the inputs on held-out text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..execution.carried import Carried
from ..execution.workers import Workers
from .measuring import Held
from .sums import F64, PIECE_ROWS, Found, Rows, Sums, add_products, products

__all__ = ["Quadratic", "Site", "joined"]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The expected squared error of a matrix's outputs, as a function of the matrix.

    Attributes:
        h: the mean of seen seen^T: f64 [n_cols, n_cols], symmetric.
        change: the mean of (exact - seen) seen^T: f64 [n_cols, n_cols]; None: 0.
        lag: the mean of lag seen^T: f64 [width, n_cols]; None: without lag.
    """

    h: F64
    change: F64 | None
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
        n_all, n_all_held, n_all_compared: the number of ordinary tokens in the text, of
            those held out, and of those in `compared`; an expert sees some of them.
        per_chunk: ordinary tokens for each first one: the length of a chunk.
        held: held-out ordinary tokens.
        compared: ordinary tokens that were summed; some of them.
        alone, alone_held: tokens at the first position, and those held out.
        n_alone, n_alone_held: how many there are in the text.
    """

    sums: Sums
    n_all: int
    n_all_held: int
    n_all_compared: int
    per_chunk: int
    n_alone: int
    n_alone_held: int
    held: list[Rows] = field(default_factory=list)
    compared: list[Rows] = field(default_factory=list)
    alone: Rows | None = None
    alone_held: Rows | None = None

    def add_alone(self, found: Found, is_held_out: NDArray[np.bool_]) -> None:
        """Take the tokens at the first position."""
        self.alone = found.chosen(~is_held_out)
        self.alone_held = found.chosen(is_held_out)

    def add(self, later: Site) -> None:
        """Add what later sequences gave."""
        self.sums.add(later.sums)
        self.held += later.held
        self.compared += later.compared
        if later.alone is not None:
            self.alone, self.alone_held = later.alone, later.alone_held

    def quadratic(
        self,
        weight: float,
        workers: Workers,
        prior: F64 | None = None,
        *,
        is_last: bool = False,
    ) -> Quadratic:
        """The error as the calibration text shows it.

        Args:
            weight: of the first position.
            workers: sum some rows at a time.
            prior: added to the sum of seen seen^T, as of tokens that are the same in
                both streams: f64 [n_cols, n_cols], upper triangle; None: nothing.
            is_last: the sums are not needed any more, and become the result.
        """
        sums = self.sums
        if not is_last:
            sums = sums.copy()
        h, change, lag = sums.squares, sums.cross, sums.lag
        if prior is not None:
            h += prior
            if change is not None:
                change += mirrored(prior.copy())
        if weight and self.alone is not None and len(self.alone):
            factor = weight * self.n_all / (self.per_chunk * self.n_alone)
            add_products(products(self.alone, h, change, lag), workers, factor)
        mirrored(h)
        if change is not None:
            change -= h
            change /= self.n_all
        if lag is not None:
            lag /= self.n_all
        h /= self.n_all
        return Quadratic(h, change, lag)

    def held_out(self, weight: float) -> list[Carried[Held]]:
        """What errors are measured on, with a weight of the first position."""
        first, n_first = self.alone_held, self.n_alone_held
        if not n_first:  # every text begins with the same token
            first, n_first = self.alone, self.n_alone
        share = weight / (self.per_chunk * max(n_first, 1))
        return _shares((self.held, 1 / self.n_all_held), ([first], share))

    def fitted(self, weight: float) -> list[Carried[Held]]:
        """The same for text that was summed."""
        share = weight / (self.per_chunk * max(self.n_alone, 1))
        return _shares((self.compared, 1 / self.n_all_compared), ([self.alone], share))

    def mean_squares(self) -> F64:
        """The mean square of each input over all positions: f64 [n_cols]."""
        total = self.sums.squares.diagonal() / max(self.sums.n_tokens, 1)
        if self.alone is None or not len(self.alone):
            return np.array(total)
        first = np.square(self.alone.seen.astype(np.float64)).mean(axis=0)
        n = self.per_chunk
        mean: F64 = (total * (n - 1) + first) / n
        return mean


def mirrored(upper: F64) -> F64:
    """Fill the lower triangle of a matrix, in its place, so that it is symmetric."""
    for start in range(0, len(upper), PIECE_ROWS):
        stop = start + PIECE_ROWS
        block = upper[start:stop, start:stop]
        block[...] = np.triu(block) + np.triu(block, 1).T
        upper[start:stop, :start] = upper[:start, start:stop].T
    return upper


def _shares(*groups: tuple[Sequence[Rows | None], float]) -> list[Carried[Held]]:
    """What errors are measured on: rows, and what each of them counts."""
    return [
        Carried(Held(rows, share))
        for some, share in groups
        if share and (rows := joined(each for each in some if each is not None))
    ]


def joined(rows: Iterable[Rows]) -> Rows | None:
    """The rows of several sequences; None: there are none."""
    some = [each for each in rows if len(each)]
    return Rows.joined(some) if some else None
