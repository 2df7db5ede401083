"""Plans for the solver, and rows that are solved with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._device import solve_host_rows
from .._native import Plan, column_order, solve_rows
from ..execution.carried import Carried
from ..execution.workers import Workers
from ..forward.base import F32
from ..types import QuantType
from .factoring import NotPositive, factor, make_plan
from .source_matrix import SourceMatrix
from .sums import F64

__all__ = ["plan_of", "solved"]

PIECE_ROWS = 256
"""Rows that are solved at a time."""

MORE = 10.0
"""The factor of damping if a sum cannot be factored."""


def plan_of(
    h: F64,
    type: QuantType,
    damping: float,
    workers: Workers,
    space: F64 | None = None,
) -> tuple[Plan, float]:
    """The plan for matrices with these inputs, and the damping that it took.

    Args:
        h: the mean of x x^T: f64 [n_cols, n_cols], not all zero.
        type: the type to round to.
        damping: added to the diagonal, relative to its mean; more, if it is too little
            to factor the sum.
        workers: factor some rows at a time.
        space: as `h`; it is overwritten.  None: new memory, which a wide matrix spends
            much of its time to get.
    """
    diagonal = h.diagonal()
    order = column_order(np.ascontiguousarray(diagonal), type)
    r = np.empty_like(h) if space is None else space
    while True:
        _put_in_order(h, order, r)
        r[np.diag_indices_from(r)] += damping * diagonal.mean()
        try:
            factor(r, workers)
        except NotPositive:
            damping *= MORE
            continue
        return make_plan(type, order, r, workers), damping


def _put_in_order(h: F64, order: NDArray[np.int64], out: F64) -> None:
    """The upper triangle of h with its rows and columns in this order."""
    for i, row in enumerate(order):
        np.take(h[row], order[i:], out=out[i, i:], mode="clip")  # "raise" makes a copy


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows to solve."""

    plan: Carried[Plan]
    rows: F32 | SourceMatrix

    @property
    def where(self) -> str:
        """The rows, for messages."""
        if isinstance(self.rows, SourceMatrix):
            return self.rows.where
        return f"targets that are solved as {self.plan.value.type.name}"


def solved_piece(piece: Piece) -> NDArray[np.uint8]:
    """The bytes of some rows."""
    return solve_rows(piece.plan.value, _weights(piece.rows))[0]


def solved(
    plan: Carried[Plan],
    rows: F32 | SourceMatrix,
    workers: Workers,
    device: int | None = None,
) -> NDArray[np.uint8]:
    """The bytes of rows in the type of the plan.

    Args:
        plan: the plan.
        rows: f32 [n, n_cols], with columns as in the file; or those of the source, as
            they are.
        workers: solve some rows at a time, where there is no device.
        device: the number of the CUDA device that solves them; None: the CPU.  The
            bytes do not depend on it.
    """
    if device is not None:
        return solve_host_rows(plan.value, _weights(rows), device)[0]
    found = workers.in_order(solved_piece, _pieces(plan, rows))
    return np.concatenate([data for _, data in found])


def _weights(rows: F32 | SourceMatrix) -> F32:
    weights = rows.weights() if isinstance(rows, SourceMatrix) else rows
    return np.ascontiguousarray(weights)


def _pieces(plan: Carried[Plan], rows: F32 | SourceMatrix) -> Iterator[Piece]:
    n_rows = rows.shape[0]
    for start in range(0, n_rows, PIECE_ROWS):
        stop = min(start + PIECE_ROWS, n_rows)
        if isinstance(rows, SourceMatrix):
            yield Piece(plan, rows.part(start, stop))
        else:
            yield Piece(plan, rows[start:stop])
