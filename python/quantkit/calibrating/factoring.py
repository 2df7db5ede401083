"""Cholesky factors and plans, with the work divided over workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._native import (
    Plan,
    PlanPiece,
    empty_plan,
    factor_below,
    factor_beside,
    factor_diagonal,
    made_units,
    solve_factored,
    solver_layout,
)
from ..errors import QuantkitError
from ..execution.workers import Workers, kept_open, share_memory
from ..types import QuantType

__all__ = ["NotPositive", "factor", "make_plan", "solve_right"]

F64 = NDArray[np.float64]

BLOCK = 256
"""Rows that are factored at a time."""

RANGE = 256
"""Rows or columns of a piece of work."""


class NotPositive(QuantkitError):
    """A matrix is not positive definite, so it has no Cholesky factor."""


@dataclass(frozen=True)
class _Step:
    """A step of factoring in some rows or columns of `h`, in its place."""

    run: Callable[[F64, int, int, int, int], None]
    h: F64
    at: int
    size: int
    first: int
    count: int


def _run(step: _Step) -> None:
    step.run(step.h, step.at, step.size, step.first, step.count)


def factor(h: F64, workers: Workers) -> None:
    """Replace a symmetric matrix f64 [n, n] by its factor R: H = R^T R, R upper.

    Only the upper triangle is read; what is left below the diagonal has no meaning.

    Raises:
        NotPositive: the matrix has no factor; its content is lost.
    """
    with kept_open(workers) as threads:
        for at in range(0, len(h), BLOCK):
            _factor_block(h, at, threads)


def _factor_block(h: F64, at: int, workers: Workers) -> None:
    n = len(h)
    size = min(BLOCK, n - at)
    if factor_diagonal(h, at, size) < size:
        raise NotPositive(f"a matrix of {n} rows is not positive definite")
    for run in (factor_beside, factor_below):
        steps = [
            _Step(run, h, at, size, first, min(RANGE, n - first))
            for first in range(at + size, n, RANGE)
        ]
        _in_place(steps, workers)


def _in_place(steps: list[_Step], workers: Workers) -> None:
    """Run steps that write to the same array."""
    if share_memory(workers) and len(steps) > 1:
        for _ in workers.in_order(_run, steps):
            pass
        return
    for step in steps:
        _run(step)


def solve_right(r: F64, rows: F64) -> F64:
    """rows f64 [k, n] times the inverse of R^T R, r f64 [n, n]."""
    x = np.ascontiguousarray(rows.T)
    solve_factored(r, x)
    return np.ascontiguousarray(x.T)


def make_plan(
    type: QuantType, order: NDArray[np.int64], r: F64, workers: Workers
) -> Plan:
    """The plan of a matrix from the factor r of H, its columns in the order of solving.

    Raises:
        UnsupportedTypeError: the type has no calibrated rounding.
    """
    plan, layout = empty_plan(type, order), solver_layout(type)
    assert layout is not None  # `empty_plan` refuses other types
    unit = layout[0]
    step = max(1, RANGE // unit)
    for piece, (units, feedback) in workers.in_order(
        made_units, _pieces(plan, r, step)
    ):
        first, count = piece.first, piece.count
        plan.units[first : first + count] = units
        plan.feedback[first * unit : (first + count) * unit] = feedback
    return plan


def _pieces(plan: Plan, r: F64, step: int) -> Iterator[PlanPiece]:
    n_units = len(plan.unit_order)
    for first in range(0, n_units, step):
        yield PlanPiece(plan.type, r, first, min(step, n_units - first))
