"""Calibrated rounding of the codebook types: bytes, and their errors under H.

python -m tests.test_solver_codebooks     # from the repository root: writes the hashes
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit import _native
from quantkit._native import ENVIRONMENT_VARIABLE, Backend, Plan, PlanPiece
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .test_golden import digest, fixed_rows

HASHES = Path(__file__).parent / "golden" / "solver_codebooks.txt"
TYPES = [
    QuantType[name]
    for name in ("IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_S", "IQ1_M")
]
COLS, ROWS = 512, 21
UNIT, BOOK = 256, 8  # columns of a block, and those whose entries are chosen at once

each_type = pytest.mark.parametrize("type", TYPES, ids=lambda t: t.name)


def integers(n: int, seed: int) -> np.ndarray:
    """Int64 [n] from -2^15 to 2^15 - 1, without any library's generator."""
    mixed = (np.arange(n, dtype=np.uint64) + np.uint64(seed)) * np.uint64(
        6364136223846793005
    ) + np.uint64(1442695040888963407)
    return (mixed >> np.uint64(48)).astype(np.int64) - 32768


def plan_of(type: QuantType, order: np.ndarray, r: np.ndarray) -> Plan:
    plan = _native.empty_plan(type, order)
    made = _native.made_units(PlanPiece(type, r, 0, len(plan.unit_order)))
    return Plan(type, order, plan.unit_order, plan.group_order, *made)


def fixed_plan(type: QuantType) -> Plan:
    """A plan of exact numbers, its units and groups not in the file's order."""
    upper = integers(COLS * COLS, 5).reshape(COLS, COLS) / 2.0**18
    r = np.triu(upper, 1) + np.diag((integers(COLS, 3) + 40000) / 2.0**15)
    return plan_of(type, _native.column_order(integers(COLS, 7) + 32768.0, type), r)


def solver_hash(type: QuantType) -> str:
    """The hash of the bytes and errors of fixed rows."""
    rows = np.ascontiguousarray(fixed_rows()[:ROWS, :COLS])
    out, errors = _native.solve_rows(fixed_plan(type), rows)
    return digest(np.concatenate([out.reshape(-1), errors.view(np.uint8)]))


@each_type
def test_hash_is_the_committed_one(
    type: QuantType, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every backend of this machine."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)
    committed = dict(line.split() for line in HASHES.read_text().splitlines())
    assert solver_hash(type) == committed[type.name]


@each_type
def test_rows_are_independent(type: QuantType) -> None:
    """Any split of the rows gives the same bytes and errors."""
    plan, x = fixed_plan(type), weights(1)
    out, errors = _native.solve_rows(plan, x)
    for first, last in [(0, 1), (1, 4), (4, 21), (20, 21), (0, 0)]:
        part, of_part = _native.solve_rows(plan, x[first:last])
        assert part.tobytes() == out[first:last].tobytes()
        assert of_part.tobytes() == errors[first:last].tobytes()


# ---- errors under H ----


def weights(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.02 * rng.standard_normal((ROWS, COLS))).astype(np.float32)


def correlated(seed: int, size: int = COLS) -> np.ndarray:
    """An H like that of activations, of independent blocks of `size` columns."""
    rng = np.random.default_rng(seed)
    h = np.zeros((COLS, COLS))
    for a in range(0, COLS, size):
        mix = rng.standard_normal((size // 4, size))
        x = rng.standard_normal((2 * size, size // 4)) @ mix
        x += rng.standard_normal(x.shape)
        h[a : a + size, a : a + size] = x.T @ x / len(x)
    return h + 0.01 * np.trace(h) / COLS * np.eye(COLS)


def factored(h: np.ndarray, type: QuantType) -> tuple[np.ndarray, np.ndarray]:
    """The order of solving, and R."""
    order = _native.column_order(np.diag(h).copy(), type)
    return order, np.ascontiguousarray(np.linalg.cholesky(h[order][:, order]).T)


def feedback_sizes(r: np.ndarray, n: int, inside: int, e: np.ndarray) -> np.ndarray:
    """|F| e of each run of n columns: the terms of their targets that come from
    later columns of the same `inside`."""
    size = np.zeros_like(e)
    for a in range(0, COLS, n):
        z, end = a + n, a // inside * inside + inside
        f = np.abs(np.linalg.solve(r[a:z, a:z], r[a:z, z:end]))
        size[:, a:z] = e[:, z:end] @ f.T
    return size


def rounding_bound(
    r: np.ndarray, group: int, terms: int, x: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """How far f32 sums can be from the errors of rows, columns in the order of solving.

    A sum of at most `terms` products that are not 0 has so many roundings, and each
    product a few, all relative to the sizes of what is summed.
    """
    rounding = (3 * terms + 16) * 2.0**-24
    e = np.abs(q - x)
    size = np.abs(x) + np.abs(q)
    for n, inside in ((UNIT, COLS), (group, UNIT), (BOOK, group)):
        size += feedback_sizes(r, n, inside, e)
    within = np.kron(np.eye(COLS // UNIT), np.ones((UNIT, UNIT)))
    spread = rounding * size @ np.abs(r * within).T
    exact = np.abs((q - x) @ r.T)
    form = (e @ np.abs(r * within).T) ** 2
    return (2 * exact * spread + spread**2 + rounding * form).sum(1)


@each_type
@pytest.mark.parametrize("columns", [16, COLS])
def test_errors_are_those_of_the_bytes(type: QuantType, columns: int) -> None:
    """Within the rounding of sums, which is small where few columns are correlated."""
    h, x = correlated(1, columns), weights(2)
    order, r = factored(h, type)
    out, errors = _native.solve_rows(plan_of(type, order, r), x)
    q = dequantize_rows(out, type, COLS).astype(np.float64)
    exact = (((q - x)[:, order] @ r.T) ** 2).sum(1)
    layout = _native.solver_layout(type)
    assert layout
    assert layout[0] == UNIT
    bound = rounding_bound(r, layout[1], columns, x[:, order], q[:, order])
    assert np.all(np.abs(errors - exact) <= bound)
    assert np.all(bound < exact * (1e-3 if columns == 16 else 1))


@each_type
def test_errors_are_far_below_those_of_plain_rounding(type: QuantType) -> None:
    """For every row, with H's diagonal as the importance of plain rounding."""
    h, x = correlated(3), weights(4)
    order, r = factored(h, type)
    _, errors = _native.solve_rows(plan_of(type, order, r), x)
    importance = np.diag(h).astype(np.float32)
    plain = dequantize_rows(quantize_rows(x, type, importance), type, COLS) - x
    assert np.all(errors < 0.75 * np.einsum("ij,jk,ik->i", plain, h, plain))


# ---- unusual numbers ----


@each_type
def test_unusual_rows_give_finite_weights(type: QuantType) -> None:
    """Zeros, sizes that no scale has, one weight of another size."""
    x = np.repeat(weights(5)[:1], 8, axis=0)
    for row, factor in enumerate([0, 1e-38, 1e-20, 1e-7, 1e4, 1e10, 1e30]):
        x[row] *= np.float32(factor)
    x[7, 100] = 3e38
    out, errors = _native.solve_rows(fixed_plan(type), x)
    values = dequantize_rows(out, type, COLS)
    assert np.isfinite(values).all()
    assert not values[0].any()
    assert errors[0] == 0
    assert np.isfinite(errors[:5]).all()


@each_type
def test_columns_that_do_not_matter(type: QuantType) -> None:
    """Dead inputs: H is 0 there but for its damping."""
    h = correlated(6)
    dead = np.arange(3, COLS, 7)
    h[dead] = h[:, dead] = 0
    h[dead, dead] = 1e-8
    order, r = factored(h, type)
    out, errors = _native.solve_rows(plan_of(type, order, r), weights(7))
    assert np.isfinite(dequantize_rows(out, type, COLS)).all()
    assert np.all(errors > 0)


if __name__ == "__main__":
    HASHES.write_text("".join(f"{t.name} {solver_hash(t)}\n" for t in TYPES))
