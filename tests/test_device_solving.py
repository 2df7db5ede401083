"""Calibrated rounding on a CUDA device: the bytes and errors of the processor.

The host build of the library runs the kernels, and a GPU where there is one (`-m gpu`).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantkit import _device, _native
from quantkit._native import Plan
from quantkit.errors import BackendError, ShapeError
from quantkit.types import QuantType

from .cuda_rows import Cuda
from .cuda_rows import cuda as cuda
from .host_library import host_library as host_library
from .test_golden import digest
from .test_solver import (
    BEST,
    COLS,
    committed_hashes,
    correlated,
    each_type,
    factor,
    fixed_plan,
    fixed_weights,
    make_plan,
    weights,
)

DEVICE = 0


@pytest.fixture(autouse=True)
def library(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that `cuda` is of is the one that is used."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(cuda.path))


def solved(plan: Plan, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _device.solve_host_rows(plan, x, DEVICE)


def same(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


@each_type
def test_hash_is_the_committed_one(type: QuantType) -> None:
    """That of all backends (tests/golden/solver.txt)."""
    out, errors = solved(fixed_plan(type, BEST), fixed_weights())
    found = digest(np.concatenate([out.reshape(-1), errors.view(np.uint8)]))
    assert found == committed_hashes()[type.name]


@pytest.mark.parametrize("name", ["Q4_0", "Q2_K", "NVFP4", "IQ3_S"])
def test_unusual_numbers(name: str) -> None:
    """Zeros, sizes that no scale has, columns that do not matter."""
    type = QuantType[name]
    order, r = factor(correlated(1), type)
    r[np.arange(3, COLS, 50)] = 0
    plan = make_plan(type, order, r)
    x = np.repeat(weights(7)[:1], 9, axis=0)
    for row, by in enumerate([0, 1e-38, 1e-20, 1e-7, 1e4, 1e10, 1e30]):
        x[row] *= np.float32(by)
    x[7, 100], x[8, 3] = 3e38, np.nan
    assert same(solved(plan, x), _native.solve_rows(plan, x))


def test_any_number_of_rows() -> None:
    """None, one, and a few more than a block of threads has."""
    plan, x = fixed_plan(QuantType.Q4_0, BEST), weights(5, 70)
    for part in (x, x[:0], x[69:]):
        assert same(solved(plan, part), _native.solve_rows(plan, part))


def test_little_memory_is_enough(
    host_library: Path, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are solved in pieces, and all memory is given back."""
    plan, x = fixed_plan(QuantType.Q4_0, BEST), weights(5, 130)
    expected = _native.solve_rows(plan, x)
    monkeypatch.setenv("QKC_HOST_MEMORY", "2000000")
    for _ in range(3):
        assert same(solved(plan, x), expected)
    monkeypatch.setenv("QKC_HOST_MEMORY", "1000000")
    message = r"qkc_malloc .1048576 bytes.: .* out of memory; free memory of the"
    with pytest.raises(BackendError, match=message):
        solved(plan, x)


def test_cupy_gives_back_what_it_keeps(
    host_library: Path, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory is scarce, and only there."""
    given = list[str]()
    pool = SimpleNamespace(free_all_blocks=lambda: given.append("all"))
    module = SimpleNamespace(get_default_memory_pool=lambda: pool)
    monkeypatch.setitem(sys.modules, "cupy", module)
    plan, x = fixed_plan(QuantType.Q4_0, BEST), weights(5, 70)
    solved(plan, x)
    assert not given
    monkeypatch.setenv("QKC_HOST_MEMORY", "2000000")
    solved(plan, x)
    assert given


@pytest.mark.parametrize("order", ["reversed", "1"])
def test_threads_come_in_any_order(
    host_library: Path, cuda: Cuda, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """No thread reads what another has yet to write."""
    monkeypatch.setenv("QKC_HOST_ORDER", order)
    plan, x = fixed_plan(QuantType.Q4_K, BEST), weights(5, 35)
    assert same(solved(plan, x), _native.solve_rows(plan, x))


def test_rows_that_do_not_fit_the_plan() -> None:
    """Other columns, other numbers, an order that names no block."""
    plan, x = fixed_plan(QuantType.Q4_0, BEST), weights(1, 2)
    wrong = plan.unit_order.copy()
    wrong[3] = len(wrong)
    for other, rows in (
        (plan, x[:, :-32].copy()),
        (plan, x.astype(np.float64)),
        (plan, x[0]),
        (replace(plan, units=plan.units[:, 1:].copy()), x),
        (replace(plan, feedback=plan.feedback[1:]), x),
        (replace(plan, unit_order=wrong), x),
    ):
        with pytest.raises(ShapeError):
            solved(other, rows)


def test_calls_that_are_refused(cuda: Cuda) -> None:
    """Before anything is touched."""
    places = {"units": 1, "feedback": 2, "x": 3, "out": 4, "errors": 5, "scratch": 6}
    usual = {name: place << 24 for name, place in places.items()}
    orders = np.zeros(16, np.int32), np.zeros(16, np.uint8)

    def at(place: int, of: str = "char") -> Any:
        return cuda.ffi.cast(f"{of} *", place)

    def solve(type: int = 2, rows: int = 2, cols: int = 512, **given: Any) -> str:
        g = {**usual, "orders": orders, "scratch_bytes": 1 << 20, **given}
        plan = cuda.ffi.new("qkc_solver_plan *")
        plan.n_cols = cols
        pointers = [cuda.pointer(each) for each in g["orders"]]
        plan.unit_order = cuda.ffi.cast("int32_t *", pointers[0])
        plan.group_order = cuda.ffi.cast("uint8_t *", pointers[1])
        plan.units, plan.feedback = at(g["units"], "float"), at(g["feedback"], "float")
        status = cuda.lib.qkc_solve_rows(
            *(type, plan, at(g["x"], "float"), rows, at(g["out"], "uint8_t")),
            *(at(g["errors"], "double"), at(g["scratch"]), g["scratch_bytes"], at(0)),
        )
        return cuda.name_of(status)

    most = 2**64 - 256
    for type in (1, 41, 99):  # F16, Q1_0, none
        assert solve(type=type) == "QKC_UNKNOWN_TYPE"
    assert solve(cols=500) == "QKC_BAD_SHAPE"
    assert solve(rows=most) == "QKC_BAD_SHAPE"
    for number in (16, -1):
        wrong = np.full(16, number, np.int32)
        assert solve(orders=(wrong, orders[1])) == "QKC_BAD_SHAPE"
    assert solve(orders=(orders[0], orders[1] + 1)) == "QKC_BAD_SHAPE"
    assert solve(orders=(None, orders[1])) == "QKC_BAD_ARRAY"
    for name in usual:
        assert solve(**{name: 0}) == "QKC_BAD_ARRAY"
    assert solve(errors=usual["errors"] + 4) == "QKC_BAD_ARRAY"
    assert solve(out=usual["x"] + 5) == "QKC_BAD_ARRAY"
    assert solve(scratch_bytes=1 << 10) == "QKC_SMALL_SCRATCH"
    size = cuda.ffi.new("size_t *")
    for type, rows, name in ((1, 2, "UNKNOWN_TYPE"), (2, most, "BAD_SHAPE")):
        status = cuda.lib.qkc_solver_scratch(type, rows, 512, size)
        assert cuda.name_of(status) == f"QKC_{name}"
