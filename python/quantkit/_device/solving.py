"""Calibrated rounding of rows in main memory, which pass through a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import Plan, plan_memory
from .._native.arguments import (
    BYTE,
    DOUBLE,
    FLOAT,
    CType,
    read,
    shape_of,
    written,
)
from ..types import QuantType
from .arguments import memory
from .loading import library
from .naming import device_name
from .statuses import check_status, check_type
from .support import device_in_use

__all__ = ["solve_host_rows"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]

ALIGNMENT = 256
"""Of arrays in device memory."""


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
        there = _plan_there(plan, n, device, kept)
        most = _rows_that_fit(plan.type, rows, n)
        n_bytes = _Room.of(plan.type, most, n).n_bytes
        start = kept.enter_context(_allocated(n_bytes, device))
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
    own = library()
    free = own.ffi.new("size_t *")
    check_status(own.lib.qkc_free_bytes(free), "qkc_free_bytes", "the device")
    most = max(rows, 1)
    while most > 1 and _Room.of(type, most, n).n_bytes > free[0] // 2:
        most = -(-most // 2)
    return most


@contextmanager
def _allocated(n_bytes: int, device: int) -> Iterator[int]:
    """The address of new memory on the current device."""
    own = library()
    made = own.ffi.new("void **")
    status = own.lib.qkc_malloc(max(n_bytes, 1), made)
    check_status(status, "qkc_malloc", f"{n_bytes} bytes on {device_name(device)}")
    try:
        yield int(own.ffi.cast("uintptr_t", made[0]))
    finally:
        own.lib.qkc_free(made[0])


def _plan_there(plan: Plan, n: int, device: int, kept: ExitStack) -> Any:
    """The plan for the library, its numbers on the current device."""
    what = library().ffi.new("qkc_solver_plan *")
    what.n_cols = n
    orders = plan_memory(plan, n)
    what.unit_order, what.group_order = orders[:2]
    units, feedback = (
        kept.enter_context(_allocated(numbers.nbytes, device))
        for numbers in (plan.units, plan.feedback)
    )
    _copy(units, plan.units)
    _copy(feedback, plan.feedback)
    what.units, what.feedback = memory(units), memory(feedback)
    return what


def _solve(
    type: QuantType, plan: Any, room: _Room, x: F32, out: Bytes, errors: F64
) -> None:
    """Solve rows of main memory, and wait for them."""
    own = library()
    out_there, errors_there = room.start + room.out, room.start + room.errors
    _copy(room.start, x)
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
    _copy_back(BYTE, out, out_there)
    _copy_back(DOUBLE, errors, errors_there)
    status = own.lib.qkc_synchronize(own.ffi.NULL)
    check_status(status, "qkc_synchronize", f"{type.name} rows that are solved")


def _copy(to: int, array: NDArray[Any]) -> None:
    """Queue a copy of an array to the device."""
    own = library()
    source = memory(array.ctypes.data)
    status = own.lib.qkc_copy(memory(to), source, array.nbytes, own.ffi.NULL)
    check_status(status, "qkc_copy", f"{array.nbytes} bytes to the device")


def _copy_back(kind: CType, array: NDArray[Any], start: int) -> None:
    """Queue a copy into an array of main memory."""
    own = library()
    target = written(kind, "array", array, array.shape)
    status = own.lib.qkc_copy(target, memory(start), array.nbytes, own.ffi.NULL)
    check_status(status, "qkc_copy", f"{array.nbytes} bytes from the device")
