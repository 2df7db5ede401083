"""Calibrated rounding of rows in main memory, which pass through a device."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import Plan, plan_memory
from .._native.arguments import BYTE, DOUBLE, FLOAT, read, shape_of
from ..types import QuantType
from .arguments import memory
from .loading import library
from .plain_memory import (
    allocated,
    copy_from_device,
    copy_to_device,
    free_bytes,
    wait_for_device,
)
from .statuses import check_type
from .support import device_in_use

__all__ = ["solve_host_rows"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]

ALIGNMENT = 256
"""Of arrays in device memory."""

LEAST_ROWS = 64
"""Rows that are solved at a time, however little memory there is."""


def solve_host_rows(plan: Plan, x: F32, device: int) -> tuple[Bytes, F64]:
    """As `solve_rows` of `_native`, on a device; the bytes and errors are the same.

    Raises:
        ShapeError: the rows do not fit the plan.
        BackendError: CUDA failed; or the plan does not fit the device's memory.
    """
    rows, n = shape_of("x", x, 2)
    read(FLOAT, "x", x, (rows, n))
    out = np.empty((rows, plan.type.row_bytes(n)), np.uint8)
    errors = np.empty(rows, np.float64)
    with device_in_use(device), ExitStack() as kept:
        free_bytes(2 * (plan.units.nbytes + plan.feedback.nbytes))  # CuPy may keep them
        there = _plan_there(plan, n, kept)
        most = _rows_that_fit(plan.type, rows, n)
        n_bytes = _Room.of(plan.type, most, n).n_bytes
        start = kept.enter_context(allocated(n_bytes))
        room = _Room.of(plan.type, most, n, start)
        for first in range(0, rows, most):
            part = slice(first, first + most)
            _solve(plan.type, there, room, x[part], out[part], errors[part])
    return out, errors


@dataclass(frozen=True)
class _Room:
    """Where the arrays for some rows begin in a piece of device memory.

    Attributes:
        start: its address.
        out, errors, scratch: bytes from its start; x is first.
        n_scratch: bytes of scratch, which is last.
    """

    start: int
    out: int
    errors: int
    scratch: int
    n_scratch: int

    @classmethod
    def of(cls, type: QuantType, rows: int, n: int, start: int = 0) -> _Room:
        """The room for rows of `n` columns."""
        out = _aligned(4 * rows * n)
        errors = out + _aligned(rows * type.row_bytes(n))
        scratch = errors + _aligned(8 * rows)
        return cls(start, out, errors, scratch, _scratch_bytes(type, rows, n))

    @property
    def n_bytes(self) -> int:
        """Bytes of all."""
        return self.scratch + self.n_scratch


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def _scratch_bytes(type: QuantType, rows: int, n: int) -> int:
    own = library()
    size = own.ffi.new("size_t *")
    status = own.lib.qkc_solver_scratch(type.id, rows, n, size)
    check_type(status, "qkc_solver_scratch", type, n)
    return int(size[0])


def _rows_that_fit(type: QuantType, rows: int, n: int) -> int:
    """How many rows are solved at a time: at most so many that half the memory is left.

    The driver takes of the rest what a kernel's threads need.
    """
    most = max(rows, 1)
    free = free_bytes(2 * _Room.of(type, most, n).n_bytes)
    while most > LEAST_ROWS and _Room.of(type, most, n).n_bytes > free // 2:
        most = -(-most // 2)
    return most


def _plan_there(plan: Plan, n: int, kept: ExitStack) -> Any:
    """The plan for the library, its numbers on the current device."""
    what = library().ffi.new("qkc_solver_plan *")
    what.n_cols = n
    orders = plan_memory(plan, n)
    what.unit_order, what.group_order = orders[:2]
    units, feedback = (
        kept.enter_context(allocated(numbers.nbytes))
        for numbers in (plan.units, plan.feedback)
    )
    copy_to_device(FLOAT, plan.units, units)
    copy_to_device(FLOAT, plan.feedback, feedback)
    what.units, what.feedback = memory(units), memory(feedback)
    return what


def _solve(
    type: QuantType, plan: Any, room: _Room, x: F32, out: Bytes, errors: F64
) -> None:
    """Solve rows of main memory, and wait for them."""
    own = library()
    out_there, errors_there = room.start + room.out, room.start + room.errors
    copy_to_device(FLOAT, x, room.start)
    status = own.lib.qkc_solve_rows(
        type.id,
        plan,
        memory(room.start),
        len(x),
        memory(out_there),
        memory(errors_there),
        memory(room.start + room.scratch),
        room.n_scratch,
        own.ffi.NULL,
    )
    check_type(status, "qkc_solve_rows", type, x.shape[1])
    copy_from_device(BYTE, out, out_there)
    copy_from_device(DOUBLE, errors, errors_there)
    wait_for_device(f"{type.name} rows that are solved")
