"""The error of a matrix's outputs on held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..execution.carried import Carried
from ..execution.workers import Workers
from ..forward.base import F32, Activations
from ..inference.weights import TypedMatrix
from .source_matrix import SourceMatrix
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

    @cached_property
    def seen(self) -> Activations:
        """What the solved matrix sees."""
        return Activations(self.rows.seen)

    @cached_property
    def exact(self) -> Activations:
        """What the unquantized model has."""
        is_one = self.rows.exact is self.rows.seen
        return self.seen if is_one else Activations(self.rows.exact)

    def __reduce__(self) -> tuple[Any, ...]:
        return Held, (self.rows, self.share)


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
    """Some rows of a matrix, and of candidates for it.

    Attributes:
        held: the inputs.
        outputs: the numbers of the rows, among the outputs that lag.
        matrix: the rows.
        candidates: the rows of each candidate.
    """

    held: Sequence[Carried[Held]]
    outputs: NDArray[np.intp] | slice
    matrix: TypedMatrix | SourceMatrix
    candidates: Sequence[TypedMatrix]

    @property
    def where(self) -> str:
        """The rows, for messages."""
        return self.matrix.where if isinstance(self.matrix, SourceMatrix) else ""


def measured(piece: Piece) -> list[F64]:
    """For each of the inputs, the squares of the outputs, and of the errors."""
    return [_measured(piece, held.value) for held in piece.held]


def _measured(piece: Piece, held: Held) -> F64:
    own, lag = piece.matrix.apply(held.exact), held.rows.lag
    wanted = own if lag is None else own + LAG_SHARE * lag[:, piece.outputs]
    moved = (candidate.apply(held.seen) - wanted for candidate in piece.candidates)
    return held.share * np.array([_square(own), *map(_square, moved)])


def _square(x: F32) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def errors_of(
    held: Sequence[Carried[Held]],
    matrix: TypedMatrix | SourceMatrix,
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
    pieces = _pieces(held, matrix, candidates, rows)
    found = [each for _, each in workers.in_order(measured, pieces)]
    total = np.zeros(1 + len(candidates))
    for of_inputs in zip(*found, strict=True):  # of the same inputs, for all rows
        for each in of_inputs:
            total += each
    return Errors(float(total[0]), tuple(map(float, total[1:])))


def _pieces(
    held: Sequence[Carried[Held]],
    matrix: TypedMatrix | SourceMatrix,
    candidates: Sequence[TypedMatrix],
    rows: NDArray[np.intp] | None,
) -> Iterator[Piece]:
    if rows is not None:
        matrix = matrix.chosen(rows)
    for start in range(0, matrix.shape[0], PIECE_ROWS):
        stop = min(start + PIECE_ROWS, matrix.shape[0])
        yield Piece(
            held,
            slice(start, stop) if rows is None else rows[start:stop],
            matrix.part(start, stop),
            [candidate.part(start, stop) for candidate in candidates],
        )
