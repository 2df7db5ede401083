"""Calibrated rounding of rows: codes and scales of little error under a matrix H."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError, UnsupportedTypeError
from ..types import QuantType
from .arguments import (
    BYTE,
    DOUBLE,
    FLOAT,
    INT32,
    pointer,
    read,
    shape_of,
    workspace,
    written,
)
from .backend import Backend, active_backend
from .statuses import check_type

__all__ = [
    "Plan",
    "PlanPiece",
    "column_order",
    "empty_plan",
    "made_units",
    "plan_memory",
    "solve_rows",
    "solver_layout",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@cache
def solver_layout(type: QuantType) -> tuple[int, int] | None:
    """Columns of a type's unit (its block) and of a group in it, which has a scale.

    None: there is no calibrated rounding for the type.
    """
    sizes = ffi.new("size_t[2]")
    if lib.qk_solver_layout(type.id, sizes, sizes + 1) != lib.QK_OK:
        return None
    return sizes[0], sizes[1]


@dataclass(frozen=True, eq=False)
class Plan:
    """What the solver knows of H for all rows of a matrix.

    Attributes:
        type: the type of the rows.
        order: int64 [cols], the columns in the order of solving; solved from the end.
        unit_order: int32 [units], the block of the row at each place.
        group_order: uint8 [units, groups], the group of that block at each place.
        units: f32 [units, floats], the numbers of each unit (csrc/solver/plan.h).
        feedback: f32 [cols, cols], what errors of later columns ask of a unit's.
    """

    type: QuantType
    order: NDArray[np.int64]
    unit_order: NDArray[np.int32]
    group_order: NDArray[np.uint8]
    units: F32
    feedback: F32

    @property
    def n_cols(self) -> int:
        """Columns of a row."""
        return len(self.order)


def column_order(diagonal: F64, type: QuantType) -> NDArray[np.int64]:
    """The order in which the columns of a matrix are solved, from its end.

    Units are sorted by the sum of their part of H's diagonal, and so are the groups
    within them: what weighs most is solved first, and the others correct its errors.

    Args:
        diagonal: f64 [cols], the diagonal of H.
        type: the type of the rows.

    Raises:
        UnsupportedTypeError: the type has no calibrated rounding.
        ShapeError: the row is not a whole number of blocks.
    """
    unit, group = _layout(type)
    if len(diagonal) % unit:
        check_type(lib.QK_BAD_SHAPE, type, len(diagonal))
    groups = diagonal.reshape(-1, unit // group, group).sum(axis=2)
    units = np.argsort(groups.sum(axis=1), kind="stable")
    inside = np.argsort(groups, axis=1, kind="stable")[units]
    first = units[:, None] * unit + inside * group
    return (first[:, :, None] + np.arange(group)).reshape(-1)


def empty_plan(type: QuantType, order: NDArray[np.int64]) -> Plan:
    """A plan whose numbers are not yet made; see `made_units`.

    Raises:
        UnsupportedTypeError: the type has no calibrated rounding.
        ShapeError: `order` is not one of `column_order`: each column once, those of a
            unit together, and those of a group in the order of the file.
    """
    unit, group = _layout(type)
    n_units, n = len(order) // unit, len(order)
    if n % unit:
        check_type(lib.QK_BAD_SHAPE, type, n)
    together = order.reshape(-1, group) - np.arange(group)
    if (
        (together != together[:, :1]).any()
        or (together % group).any()
        or (order.reshape(-1, unit) // unit != order[::unit][:, None] // unit).any()
        or (np.sort(order) != np.arange(n)).any()
    ):
        raise ShapeError(f"no order of solving {n} columns of {type.name}")
    first = order.reshape(n_units, unit // group, group)[:, :, 0]
    sizes = _floats(type)
    return Plan(
        type,
        order,
        (first[:, 0] // unit).astype(np.int32),
        (first % unit // group).astype(np.uint8),
        np.empty((n_units, sizes[0]), np.float32),
        np.empty((n, n), np.float32),
    )


@dataclass(frozen=True, eq=False)
class PlanPiece:
    """Some units of a plan that are to be made.

    Attributes:
        type: the type of the rows.
        r: f64 [cols, cols], the factor of H with its columns in the order of solving.
        first: the first unit.
        count: the number of units.
    """

    type: QuantType
    r: F64
    first: int
    count: int


def made_units(piece: PlanPiece, backend: Backend | None = None) -> tuple[F32, F32]:
    """The numbers of some units: f32 [count, floats], and their rows of the feedback.

    Args:
        piece: which units.
        backend: the backend to use, or None for the active one; all give the same bits.

    Raises:
        ShapeError: there are no such units.
    """
    unit, _ = _layout(piece.type)
    n = shape_of("r", piece.r, 2)[0]
    n_floats, n_work = _floats(piece.type)
    units = np.empty((piece.count, n_floats), np.float32)
    feedback = np.empty((piece.count * unit, n), np.float32)
    work = np.empty(n_work, np.float64)
    status = lib.qk_make_units(
        (backend or active_backend()).index,
        piece.type.id,
        read(DOUBLE, "r", piece.r, (n, n)),
        n,
        piece.first,
        piece.count,
        written(DOUBLE, "work", work, work.shape),
        written(FLOAT, "units", units, units.shape),
        written(FLOAT, "feedback", feedback, feedback.shape),
    )
    check_type(status, piece.type, n)
    return units, feedback


def solve_rows(
    plan: Plan, x: F32, backend: Backend | None = None
) -> tuple[NDArray[np.uint8], F64]:
    """Round rows f32 [rows, cols] so that their error under H is small.

    Args:
        plan: the plan of the matrix.
        x: the rows, with columns as in the file.
        backend: the backend to use, or None for the active one; all give the same bits.

    Returns:
        The rows in the type, uint8 [rows, row bytes], and f64 [rows], the error of
        each: (q - x)^T H (q - x), as the solver sums it in f32.

    Raises:
        ShapeError: the rows do not fit the plan.
    """
    rows, n = shape_of("x", x, 2)
    type = plan.type
    what = ffi.new("qk_solver_plan *")
    what.n_cols = n
    kept = plan_memory(plan, n)
    what.unit_order, what.group_order, what.units, what.feedback = kept
    out = np.empty((rows, type.row_bytes(n)), np.uint8)
    errors = np.empty(rows, np.float64)
    size = ffi.new("size_t *")
    number = (backend or active_backend()).index
    check_type(lib.qk_solver_workspace(number, n, size), type, n)
    status = lib.qk_solve_rows(
        number,
        type.id,
        what,
        read(FLOAT, "x", x, (rows, n)),
        rows,
        ffi.cast("uint8_t *", pointer(workspace(size[0]))),
        written(BYTE, "out", out, out.shape),
        written(DOUBLE, "errors", errors, errors.shape),
    )
    check_type(status, type, n)
    return out, errors


def plan_memory(plan: Plan, n: int) -> tuple[object, object, object, object]:
    """The memory of a plan's orders, units and feedback, for rows of `n` columns.

    Raises:
        ShapeError: the rows do not fit the plan.
    """
    unit, group = _layout(plan.type)
    n_units = n // unit
    return (
        read(INT32, "unit_order", plan.unit_order, (n_units,)),
        read(BYTE, "group_order", plan.group_order, (n_units, unit // group)),
        read(FLOAT, "units", plan.units, (n_units, _floats(plan.type)[0])),
        read(FLOAT, "feedback", plan.feedback, (n, n)),
    )


def _layout(type: QuantType) -> tuple[int, int]:
    layout = solver_layout(type)
    if layout is None:
        raise UnsupportedTypeError(f"{type.name} has no calibrated rounding")
    return layout


@cache
def _floats(type: QuantType) -> tuple[int, int]:
    """Floats of a unit in a plan, and doubles that making it needs."""
    sizes = ffi.new("size_t[2]")
    lib.qk_solver_floats(type.id, sizes, sizes + 1)
    return sizes[0], sizes[1]
