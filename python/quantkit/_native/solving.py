"""Calibrated rounding in the C core: plans, and the rows that are solved with them.

The error of a row q that stands for x is (q - x)^T H (q - x).  H is the sum of the
outer products of the matrix's inputs.  docs/calibration.md has the method.
"""

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
    UNIT,
    pointer,
    read,
    shape_of,
    workspace,
    written,
)
from .backend import Backend
from .statuses import check_type

__all__ = [
    "Plan",
    "SolverLayout",
    "column_order",
    "empty_plan",
    "fill_plan",
    "make_plan",
    "solve_rows",
    "solver_layout",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class SolverLayout:
    """How the columns of a type's matrices are solved together.

    Attributes:
        unit: the columns that share the bytes of a block.
        group: the columns of a unit that share a scale.
        floats: the floats of a unit in a plan.
    """

    unit: int
    group: int
    floats: int


@dataclass(frozen=True)
class Plan:
    """What the solver needs of H for one matrix; shared by all its rows.

    Attributes:
        type: the type that rows are rounded to.
        order: int64 [n_cols], the column of the file at each place.  Places are
            solved from the last to the first.
        unit_order: int32 [n_units], the unit of the file at each place.
        group_order: uint8 [n_groups], the group of its unit at each place.
        units: f32 [n_units, floats], what the core holds of each unit.
        feedback: f32 [n_cols, n_cols], how the errors of later places change the
            targets of a unit; 0 elsewhere.
    """

    type: QuantType
    order: NDArray[np.int64]
    unit_order: NDArray[np.int32]
    group_order: NDArray[np.uint8]
    units: F32
    feedback: F32

    @property
    def n_cols(self) -> int:
        """The columns of the matrix."""
        return len(self.order)


@cache
def solver_layout(type: QuantType) -> SolverLayout | None:
    """The layout of a type's plans, or None if the core has no solver for the type."""
    size = ffi.new("size_t[3]")
    if lib.qk_solver_sizes(type.id, size, size + 1, size + 2) != lib.QK_OK:
        return None
    return SolverLayout(*size)


def _layout_of(type: QuantType) -> SolverLayout:
    layout = solver_layout(type)
    if layout is None:
        raise UnsupportedTypeError(f"there is no calibrated rounding for {type.name}")
    return layout


def column_order(h_diagonal: F64, type: QuantType) -> NDArray[np.int64]:
    """The order in which the columns of a matrix are solved, the first one last.

    Units are in the order of their share of H's trace, and so are the groups of a
    unit.  Those that matter most are solved first, when errors can still be
    compensated by all others.

    Args:
        h_diagonal: f64 [n_cols], the diagonal of H.
        type: the type of the rows.

    Returns:
        int64 [n_cols], the column at each place; equal shares are in the file's order.

    Raises:
        ShapeError: the columns are not a whole number of units.
        UnsupportedTypeError: there is no solver for the type.
    """
    layout = _layout_of(type)
    (n_cols,) = shape_of("h_diagonal", h_diagonal, 1)
    check_type(lib.QK_BAD_SHAPE if n_cols % layout.unit else lib.QK_OK, type, n_cols)
    share = h_diagonal.reshape(-1, layout.unit // layout.group, layout.group).sum(2)
    units = np.argsort(share.sum(1), kind="stable")
    groups = np.argsort(share, axis=1, kind="stable")[units]
    starts = units[:, None] * layout.unit + groups * layout.group
    columns = starts[:, :, None] + np.arange(layout.group)
    return columns.reshape(-1).astype(np.int64)


def empty_plan(type: QuantType, order: NDArray[np.int64]) -> Plan:
    """A plan for `fill_plan` to fill.

    Raises:
        ShapeError: `order` does not keep the columns of units and groups together.
        UnsupportedTypeError: there is no solver for the type.
    """
    layout = _layout_of(type)
    (n_cols,) = shape_of("order", order, 1)
    check_type(lib.QK_BAD_SHAPE if n_cols % layout.unit else lib.QK_OK, type, n_cols)
    starts = order[:: layout.group]
    units = starts[:: layout.unit // layout.group] // layout.unit
    groups = starts % layout.unit // layout.group
    of_unit = starts // layout.unit * layout.unit + groups * layout.group
    expected = of_unit[:, None] + np.arange(layout.group)
    is_whole = np.array_equal(order, expected.reshape(-1)) and np.array_equal(
        starts // layout.unit, np.repeat(units, layout.unit // layout.group)
    )
    if not is_whole or not np.array_equal(np.sort(order), np.arange(n_cols)):
        raise ShapeError(
            f"`order` is no order of solving {n_cols} columns of {type.name}: each "
            "column once, and the columns of units and groups together"
        )
    return Plan(
        type,
        order,
        units.astype(np.int32),
        groups.astype(np.uint8),
        np.zeros((len(units), layout.floats), np.float32),
        np.zeros((n_cols, n_cols), np.float32),
    )


def fill_plan(plan: Plan, r: F64, first: int, count: int, backend: Backend) -> None:
    """Compute units first..first+count-1 of a plan; threads may fill others.

    Args:
        plan: made by `empty_plan`.
        r: f64 [n_cols, n_cols], upper triangular, with H[order][:, order] = r^T r.
        first, count: the places of the units.
        backend: the backend to use; all give the same bits.

    Raises:
        ShapeError: an array does not fit, or there are no such units.
    """
    n_cols = plan.n_cols
    if not 0 <= first <= first + count <= len(plan.unit_order):
        raise ShapeError(
            f"units {first} to {first + count - 1} of a plan with "
            f"{len(plan.unit_order)} units"
        )
    floats = _layout_of(plan.type).floats
    status = lib.qk_plan_units(
        backend.index,
        plan.type.id,
        read(DOUBLE, "r", r, (n_cols, n_cols)),
        n_cols,
        first,
        count,
        written(FLOAT, "units", plan.units, (len(plan.unit_order), floats)),
        written(FLOAT, "feedback", plan.feedback, (n_cols, n_cols)),
    )
    check_type(status, plan.type, n_cols)


def make_plan(
    type: QuantType, order: NDArray[np.int64], r: F64, backend: Backend
) -> Plan:
    """A whole plan, as `empty_plan` and `fill_plan` make it."""
    plan = empty_plan(type, order)
    fill_plan(plan, r, 0, len(plan.unit_order), backend)
    return plan


def solve_rows(plan: Plan, x: F32, backend: Backend) -> tuple[NDArray[np.uint8], F64]:
    """Round rows so that their errors under the plan's H are small.

    Each row is solved on its own, with the same result among any others.

    Args:
        plan: the plan of the matrix.
        x: f32 [rows, n_cols], finite, C-contiguous, columns as in the file.
        backend: the backend to use; all give the same bits.

    Returns:
        uint8 [rows, row bytes] in the plan's type, and f64 [rows], each row's error
        (q - x)^T H (q - x) as the solver sums it.

    Raises:
        ShapeError: an array does not fit.
    """
    layout = _layout_of(plan.type)
    rows, n_cols = shape_of("x", x, 2)
    n_units = n_cols // layout.unit
    out = np.empty((rows, plan.type.row_bytes(n_cols)), np.uint8)
    errors = np.empty(rows, np.float64)
    what = ffi.new("qk_plan *")
    held = (
        read(UNIT, "unit_order", plan.unit_order, (n_units,)),
        read(BYTE, "group_order", plan.group_order, (n_cols // layout.group,)),
        read(FLOAT, "units", plan.units, (n_units, layout.floats)),
        read(FLOAT, "feedback", plan.feedback, (n_cols, n_cols)),
    )
    what.n_cols = n_cols
    what.unit_order, what.group_order, what.units, what.feedback = held
    floats = ffi.new("size_t *")
    check_type(lib.qk_solve_workspace(plan.type.id, n_cols, floats), plan.type, n_cols)
    memory = workspace(FLOAT.dtype.itemsize * floats[0])
    status = lib.qk_solve_rows(
        backend.index,
        plan.type.id,
        what,
        read(FLOAT, "x", x, (rows, n_cols)),
        rows,
        written(BYTE, "out", out, out.shape),
        written(DOUBLE, "errors", errors, errors.shape),
        pointer(memory),
    )
    check_type(status, plan.type, n_cols)
    return out, errors
