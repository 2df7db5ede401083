"""The matrix that the codes should come close to.

In a model whose earlier layers are rounded, a matrix W sees other inputs.  The best
matrix for them is W + [W change + lag / 2] (H + ridge I)^-1, by the sums of
`Quadratic`.  The ridge keeps it from fitting the calibration text too well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..execution.workers import Workers
from ..forward.base import F32
from .factoring import factor, solve_right
from .measuring import LAG_SHARE
from .site import Quadratic
from .sums import F64

__all__ = ["Targets"]

PIECE_ROWS = 64
"""Rows that are solved at a time."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Gives the target of rows of a matrix.

    Attributes:
        change, lag: see `Quadratic`.
        factored: the factor of H + ridge I.
    """

    change: F64
    lag: F64 | None
    factored: F64

    @classmethod
    def of(cls, quadratic: Quadratic, ridge: float, workers: Workers) -> Targets:
        """The targets with a ridge relative to the mean diagonal."""
        assert quadratic.change is not None  # else the targets are the weights
        ridged = quadratic.h.copy()
        ridged[np.diag_indices_from(ridged)] += ridge * quadratic.level
        factor(ridged, workers)
        return cls(quadratic.change, quadratic.lag, ridged)

    def rows(self, w: F32, lag: F64 | None, workers: Workers) -> F32:
        """The targets of rows w [rows, n_cols], with their rows of `lag`."""
        return np.concatenate(
            [found for _, found in workers.in_order(moved, self._pieces(w, lag))]
        )

    def _pieces(self, w: F32, lag: F64 | None) -> Iterator[Piece]:
        for start in range(0, len(w), PIECE_ROWS):
            rows = slice(start, start + PIECE_ROWS)
            yield Piece(self, w[rows], None if lag is None else lag[rows])


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows whose targets are to be computed."""

    targets: Targets
    w: F32
    lag: F64 | None


def moved(piece: Piece) -> F32:
    """The targets of some rows: f32 [rows, n_cols]."""
    rhs = piece.w.astype(np.float64) @ piece.targets.change
    if piece.lag is not None:
        rhs += float(LAG_SHARE) * piece.lag
    change = solve_right(piece.targets.factored, rhs)
    return np.asarray(piece.w + change, np.float32)
