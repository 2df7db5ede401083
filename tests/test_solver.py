"""Calibrated rounding: the bytes, their errors under H, and the orders of solving.

python -m tests.test_solver     # from the repository root: writes the golden file anew
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from quantkit import _native
from quantkit._native import Backend, Plan, PlanPiece
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.errors import ShapeError, UnsupportedTypeError
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES
from .test_golden import digest, fixed_rows

HASHES = Path(__file__).parent / "golden" / "solver.txt"
TYPES = [t for t in NATIVE_TYPES if _native.solver_layout(t)]
COLS, ROWS = 512, 20
BEST = _native.active_backend()

each_type = pytest.mark.parametrize("type", TYPES, ids=lambda t: t.name)

KINDS = ("Q4_0", "Q4_1", "Q8_0", "Q2_K", "Q3_K", "IQ4_XS", "NVFP4", "IQ3_S", "IQ1_M")
"""A type of each kind; the others are slow tests."""

each_kind = pytest.mark.parametrize(
    "type",
    [
        pytest.param(t, marks=[] if t.name in KINDS else [pytest.mark.slow])
        for t in TYPES
    ],
    ids=lambda t: t.name,
)


def layout_of(type: QuantType) -> tuple[int, int]:
    """The columns of a unit and of a group."""
    layout = _native.solver_layout(type)
    assert layout
    return layout


def make_plan(
    type: QuantType, order: np.ndarray, r: np.ndarray, backend: Backend = BEST
) -> Plan:
    plan = _native.empty_plan(type, order)
    whole = PlanPiece(type, r, 0, len(plan.unit_order))
    plan.units[...], plan.feedback[...] = _native.made_units(whole, backend)
    return plan


def integers(n: int, seed: int) -> np.ndarray:
    """Int64 [n] from -2^15 to 2^15 - 1, without any library's generator."""
    mixed = (np.arange(n, dtype=np.uint64) + np.uint64(seed)) * np.uint64(
        6364136223846793005
    ) + np.uint64(1442695040888963407)
    return (mixed >> np.uint64(48)).astype(np.int64) - 32768


def fixed_plan(type: QuantType, backend: Backend) -> Plan:
    """A plan of exact numbers: units and groups in some order, R's diagonal largest."""
    return make_plan(type, fixed_order(type), fixed_factor(), backend)


def fixed_order(type: QuantType) -> np.ndarray:
    """An order of columns that does not depend on H."""
    return _native.column_order((integers(COLS, 7) + 32768.0), type)


def fixed_factor() -> np.ndarray:
    """An upper triangular matrix of exact numbers, its diagonal largest."""
    upper = integers(COLS * COLS, 5).reshape(COLS, COLS) / 2.0**17
    factor: np.ndarray = np.triu(upper, 1)
    return factor + np.diag((integers(COLS, 3) + 40000) / 2.0**15)


def fixed_weights() -> np.ndarray:
    """The rows whose hashes are committed."""
    return np.ascontiguousarray(fixed_rows()[:ROWS, :COLS])


def committed_hashes() -> dict[str, str]:
    """Type name -> the hash of the bytes and errors of the fixed rows."""
    return dict(line.split() for line in HASHES.read_text().splitlines())


def solver_hash(type: QuantType, backend: Backend = BEST) -> str:
    """The hash of the bytes and errors of fixed rows."""
    plan = fixed_plan(type, backend)
    out, errors = _native.solve_rows(plan, fixed_weights(), backend)
    return digest(np.concatenate([out.reshape(-1), errors.view(np.uint8)]))


@each_type
def test_hash_is_the_committed_one(type: QuantType, backend: Backend) -> None:
    """On every backend of this machine."""
    assert solver_hash(type, backend) == committed_hashes()[type.name]


# ---- errors under H ----


@cache
def correlated(seed: int) -> np.ndarray:
    """An H as real activations have it: few directions, columns of many sizes."""
    rng = np.random.default_rng(seed)
    n, tokens = COLS, 2 * COLS
    mix = rng.standard_normal((n // 4, n)) * np.exp(rng.standard_normal(n))
    x = rng.standard_normal((tokens, n // 4)) @ mix + rng.standard_normal((tokens, n))
    h = x.T @ x / tokens
    return h + 0.01 * np.trace(h) / n * np.eye(n)


def weights(seed: int, rows: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.02 * rng.standard_normal((rows, COLS))).astype(np.float32)


def factor(h: np.ndarray, type: QuantType) -> tuple[np.ndarray, np.ndarray]:
    """The order of solving, and R."""
    order = _native.column_order(np.diag(h).copy(), type)
    lower = np.linalg.cholesky(h[order][:, order])
    return order, np.ascontiguousarray(lower.T)


def blocks(r: np.ndarray, n: int) -> np.ndarray:
    """|F| of each run of n columns: how large the terms of their targets are."""
    f = np.zeros_like(r)
    for a in range(0, len(r), n):
        z = a + n
        f[a:z, z:] = np.abs(np.linalg.solve(r[a:z, a:z], r[a:z, z:]))
    return f


def rounding_bound(
    r: np.ndarray, layout: tuple[int, int], x: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """How far f32 sums may be from the errors of rows; columns in order of solving.

    Every element of R e is a sum over at most all columns of products of three
    numbers that were rounded; its terms are no larger than `size`.
    """
    n, (unit, group) = len(r), layout
    e = np.abs(q - x)
    size = np.abs(x) + np.abs(q) + e @ (blocks(r, unit)).T
    inside = blocks(r, group)
    for a in range(0, n, unit):
        z = a + unit
        size[:, a:z] += e[:, a:z] @ inside[a:z, a:z].T
    for a in range(0, n, group):
        z = a + group
        size[:, a:z] = size[:, a:z] @ np.abs(r[a:z, a:z]).T
    delta = (3 * n + 8) * 2.0**-24 * size
    exact = np.abs((q - x) @ r.T)
    return (2 * exact * delta + delta**2).sum(1) + n * 2.0**-24 * (exact**2).sum(1)


@each_kind
def test_errors_are_those_of_the_bytes(type: QuantType) -> None:
    """Within the rounding of the solver's sums."""
    h, x = correlated(1), weights(2)
    order, r = factor(h, type)
    plan = make_plan(type, order, r)
    out, errors = _native.solve_rows(plan, x, BEST)
    q = dequantize_rows(out, type, COLS).astype(np.float64)
    exact = (((q - x)[:, order] @ r.T) ** 2).sum(1)
    bound = rounding_bound(r, layout_of(type), x[:, order], q[:, order])
    assert np.all(np.abs(errors - exact) <= bound)
    assert np.all(bound < exact)  # else nothing was tested


@each_kind
def test_errors_are_below_those_of_plain_rounding(type: QuantType) -> None:
    """For every row, with H's diagonal as the importance of plain rounding."""
    h, x = correlated(1), weights(4)
    order, r = factor(h, type)
    _, errors = _native.solve_rows(make_plan(type, order, r), x, BEST)
    importance = np.diag(h).astype(np.float32)
    plain = dequantize_rows(quantize_rows(x, type, importance), type, COLS) - x
    assert np.all(errors < np.einsum("ij,jk,ik->i", plain, h, plain))


# ---- what the result does not depend on ----


@each_kind
def test_rows_are_independent(type: QuantType) -> None:
    """Any split of the rows gives the same bytes and errors."""
    plan, x = fixed_plan(type, BEST), weights(5, 70)
    out, errors = _native.solve_rows(plan, x, BEST)
    for first, last in [(0, 1), (1, 4), (3, 68), (69, 70), (0, 0)]:
        part, of_part = _native.solve_rows(plan, x[first:last], BEST)
        assert part.tobytes() == out[first:last].tobytes()
        assert of_part.tobytes() == errors[first:last].tobytes()


@each_kind
def test_plans_may_be_filled_in_parts(type: QuantType, backend: Backend) -> None:
    """On every backend, with the same bits."""
    order, r = factor(correlated(1), type)
    whole, plan = make_plan(type, order, r), _native.empty_plan(type, order)
    unit, n = layout_of(type)[0], len(plan.unit_order)
    for first, last in [(n - 1, n), (1, n - 1), (0, 1)]:
        piece = PlanPiece(type, r, first, last - first)
        made = _native.made_units(piece, backend)
        plan.units[first:last], plan.feedback[first * unit : last * unit] = made
    assert plan.units.tobytes() == whole.units.tobytes()
    assert plan.feedback.tobytes() == whole.feedback.tobytes()


# ---- unusual numbers ----


@each_kind
def test_unusual_rows_give_finite_weights(type: QuantType) -> None:
    """Zeros, sizes that no scale has, one weight of another size, not numbers."""
    plan = fixed_plan(type, BEST)
    x = np.repeat(weights(7)[:1], 9, axis=0)
    for row, factor in enumerate([0, 1e-38, 1e-20, 1e-7, 1e4, 1e10, 1e30]):
        x[row] *= np.float32(factor)
    x[7, 100], x[8, 3] = 3e38, np.nan
    out, errors = _native.solve_rows(plan, x, BEST)
    assert np.isfinite(dequantize_rows(out, type, COLS)).all()
    assert not dequantize_rows(out[:1], type, COLS).any()
    assert errors[0] == 0
    assert np.isfinite(errors[:5]).all()


@each_kind
def test_columns_that_do_not_matter(type: QuantType) -> None:
    """Zeros on R's diagonal: the other columns are solved, all weights are finite."""
    h = correlated(1)
    order, r = factor(h, type)
    r[np.arange(3, COLS, 50)] = 0
    plan = make_plan(type, order, r)
    assert np.isfinite(plan.units).all()
    assert np.isfinite(plan.feedback).all()
    out, errors = _native.solve_rows(plan, weights(9), BEST)
    assert np.isfinite(dequantize_rows(out, type, COLS)).all()
    assert np.all(errors > 0)


# ---- orders and arguments ----


@each_type
def test_order_is_by_share_of_the_trace(type: QuantType) -> None:
    """Units, then groups in them; equal shares in the file's order."""
    unit, group = layout_of(type)
    diagonal = np.ones(COLS)
    diagonal[:unit] = 2
    diagonal[-group:] = 0.5
    order = _native.column_order(diagonal, type)
    assert sorted(order) == list(range(COLS))
    assert list(order[:group]) == list(range(COLS - group, COLS))
    assert list(order[-unit:]) == list(range(unit))


@each_type
def test_other_orders_are_refused(type: QuantType) -> None:
    """A column twice, columns of two groups, a part of a unit."""
    order = np.arange(COLS)
    for wrong in (order * 0, np.roll(order, 1), order[::-1].copy(), order + COLS):
        with pytest.raises(ShapeError, match="no order of solving"):
            _native.empty_plan(type, wrong)
    with pytest.raises(ShapeError, match="does not fit"):
        _native.empty_plan(type, order[:-16])
    with pytest.raises(ShapeError, match="does not fit"):
        _native.column_order(np.ones(COLS - 16), type)


def test_units_outside_a_plan_are_refused() -> None:
    """Before the core sees them."""
    r, n = np.eye(COLS), COLS // 32
    for first, count in [(0, n + 1), (n, 1), (n + 1, 0)]:
        with pytest.raises(ShapeError):
            _native.made_units(PlanPiece(QuantType["Q4_0"], r, first, count))


def test_types_without_a_solver() -> None:
    """F16 has none."""
    assert _native.solver_layout(QuantType.F16) is None
    with pytest.raises(UnsupportedTypeError, match="has no calibrated rounding"):
        _native.empty_plan(QuantType.F16, np.arange(COLS))


if __name__ == "__main__":
    HASHES.write_text("".join(f"{t.name} {solver_hash(t)}\n" for t in TYPES))
