"""The error of a matrix's outputs on held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..execution.workers import Workers
from ..forward.base import F32, Activations
from ..inference.weights import TypedMatrix
from .sums import F64, Rows

__all__ = ["Errors", "Held", "errors_of"]

PIECE_ROWS = 256
"""Outputs that are compared at a time."""

LAG_SHARE = np.float32(0.5)
"""How much of the residual stream's lag a matrix that adds to it makes up for."""


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out inputs.

    Attributes:
        rows: the inputs.
        share: what the squared error of each of them counts.
    """

    rows: Rows
    share: float


@dataclass(frozen=True)
class Errors:
    """Squared errors of outputs.

    Attributes:
        signal: the square of the unquantized outputs.
        errors: the squared error of each candidate's.
    """

    signal: float
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a matrix, and of candidates for it."""

    seen: Activations
    exact: Activations
    lag: F32 | None
    matrix: TypedMatrix
    candidates: Sequence[TypedMatrix]
    share: float


def measured(piece: Piece) -> F64:
    """The squares of the outputs, and the squared error of each candidate."""
    own = piece.matrix.apply(piece.exact)
    wanted = own if piece.lag is None else own + LAG_SHARE * piece.lag
    moved = (candidate.apply(piece.seen) - wanted for candidate in piece.candidates)
    return piece.share * np.array([_square(own), *map(_square, moved)])


def _square(x: F32) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def errors_of(
    held: Sequence[Held],
    matrix: TypedMatrix,
    candidates: Sequence[TypedMatrix],
    workers: Workers,
    rows: NDArray[np.intp] | None = None,
) -> Errors:
    """The errors of candidates for a matrix.

    Args:
        held: the inputs to measure on.
        matrix: the unquantized matrix.
        candidates: matrices of the same shape, or of its `rows`.
        workers: measure some rows at a time.
        rows: the rows to compare; None: all.
    """
    total = np.zeros(1 + len(candidates))
    pieces = _pieces(held, matrix, candidates, rows)
    for _, found in workers.in_order(measured, pieces):
        total += found
    return Errors(float(total[0]), tuple(map(float, total[1:])))


def _pieces(
    held: Sequence[Held],
    matrix: TypedMatrix,
    candidates: Sequence[TypedMatrix],
    rows: NDArray[np.intp] | None,
) -> Iterator[Piece]:
    if rows is not None:
        matrix = matrix.chosen(rows)
    for each in held:
        seen, lag = Activations(each.rows.seen), each.rows.lag
        is_one = each.rows.exact is each.rows.seen
        exact = seen if is_one else Activations(each.rows.exact)
        if lag is not None and rows is not None:
            lag = lag[:, rows]
        for start in range(0, matrix.shape[0], PIECE_ROWS):
            stop = min(start + PIECE_ROWS, matrix.shape[0])
            yield Piece(
                seen,
                exact,
                None if lag is None else lag[:, start:stop],
                matrix.part(start, stop),
                [candidate.part(start, stop) for candidate in candidates],
                each.share,
            )
