"""Sums over tokens, Cholesky factors and solving: their bits are those of a definition.

    python -m tests.test_algebra     # from the repository root: writes the hashes anew

The definitions are loops over NumPy arrays that perform the same operations in the same
order, so they are compared with `==`, on every backend and for every division of the
work.  That the definitions are right is checked against bounds on rounding errors
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import _native
from quantkit._native import Backend
from quantkit.calibrating import factoring
from quantkit.calibrating.factoring import NotPositive, factor
from quantkit.calibrating.solving import plan_of
from quantkit.execution.workers import Threads
from quantkit.types import QuantType

from .test_golden import digest, fixed_rows

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HASHES = Path(__file__).parent / "golden" / "algebra.txt"
SIZES = [1, 3, 31, 33, 257]
RUN = 256
"""Tokens that are summed in f32."""
F32_UNIT, F64_UNIT = 2.0**-24, 2.0**-53
"""Unit roundoffs."""


@pytest.fixture(autouse=True)
def chosen(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on every backend."""
    monkeypatch.setenv(_native.ENVIRONMENT_VARIABLE, backend.name)


def gamma(n: int, u: float) -> float:
    """The bound on the relative error of n operations (Higham, lemma 3.1)."""
    return n * u / (1 - n * u)


def tokens_of(n_tokens: int, n: int, seed: int) -> F32:
    """Inputs of very different sizes, so that the order of a sum shows in its bits."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.standard_normal(n))
    return (rng.standard_normal((n_tokens, n)) * scale).astype(np.float32)


def positive(n: int) -> F64:
    """A symmetric positive definite matrix."""
    x = tokens_of(n + 5, n, n).astype(np.float64)
    h: F64 = x.T @ x
    return h + np.eye(n) * h.diagonal().mean() * 1e-3


def gram_by_definition(a: F32, b: F32) -> F64:
    sums = np.zeros((a.shape[1], b.shape[1]))
    for start in range(0, len(a), RUN):
        part = np.zeros(sums.shape, np.float32)
        for x, y in zip(a[start : start + RUN], b[start : start + RUN], strict=True):
            part += x[:, None] * y
        sums += part
    return sums


def factor_by_definition(h: F64) -> F64:
    r = np.triu(h)
    for i in range(len(r)):
        r[i, i] = np.sqrt(r[i, i])
        r[i, i + 1 :] /= r[i, i]
        r[i + 1 :, i + 1 :] -= np.triu(np.outer(r[i, i + 1 :], r[i, i + 1 :]))
    return r


def solved_by_definition(r: F64, x: F64) -> F64:
    x, n = x.copy(), len(r)
    for i in range(n):
        x[i] /= r[i, i]
        x[i + 1 :] -= r[i, i + 1 :, None] * x[i]
    for i in reversed(range(n)):
        x[i] /= r[i, i]
        x[:i] -= r[:i, i, None] * x[i]
    return x


def factored(h: F64, threads: int = 1) -> F64:
    r = h.copy()
    factor(r, Threads(threads))
    return np.triu(r)


@pytest.mark.parametrize("n_tokens", [0, 1, 255, 256, 257, 700])
@pytest.mark.parametrize("n", [1, 3, 31, 33])
def test_sums_are_those_of_the_definition(n_tokens: int, n: int) -> None:
    """Runs of 256 tokens in f32, and these in f64, of two inputs and of one."""
    a, b = tokens_of(n_tokens, n, 1), tokens_of(n_tokens, 2 * n + 1, 2)
    for other in (a, b):
        found = _native.gram(a, other, 0, n)
        assert found.tobytes() == gram_by_definition(a, other).tobytes()


def test_sums_do_not_depend_on_the_rows_asked_for() -> None:
    """Any range of rows, with all columns or only those from the first row on."""
    a = tokens_of(300, 257, 1)
    whole = _native.gram(a, a, 0, 257)
    for first, count in ((0, 1), (1, 5), (6, 33), (100, 157), (256, 1), (257, 0)):
        rows = whole[first : first + count].copy()
        assert np.array_equal(_native.gram(a, a, first, count), rows)
        rows[:, :first] = 0
        assert np.array_equal(_native.gram(a, a, first, count, upper=True), rows)


def test_sums_are_near_those_in_double_precision() -> None:
    """A run has 256 products and additions in f32; f64 adds less than one more."""
    a, b = tokens_of(1000, 33, 1), tokens_of(1000, 31, 2)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    error = abs(_native.gram(a, b, 0, 33) - wide_a.T @ wide_b)
    bound = gamma(RUN + 1, F32_UNIT) * (abs(wide_a).T @ abs(wide_b))
    assert np.all(error <= bound)


def test_a_token_that_is_not_finite_shows_where_it_must() -> None:
    """NaN in one input of one token: all sums of this input, and no other."""
    a = tokens_of(300, 33, 1)
    a[270, 7] = np.nan
    expected = np.zeros((33, 33), bool)
    expected[7] = expected[:, 7] = True
    assert np.array_equal(np.isnan(_native.gram(a, a, 0, 33)), expected)


@pytest.mark.parametrize("n", SIZES)
def test_factor_is_that_of_the_definition(n: int) -> None:
    h = positive(n)
    assert factored(h).tobytes() == factor_by_definition(h).tobytes()


@pytest.mark.parametrize(("block", "range_"), [(1, 50), (5, 7), (64, 16), (100, 1000)])
def test_factor_does_not_depend_on_blocks_ranges_and_threads(
    block: int, range_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    h = positive(300)
    expected = factored(h)
    monkeypatch.setattr(factoring, "BLOCK", block)
    monkeypatch.setattr(factoring, "RANGE", range_)
    for threads in (1, 3):
        assert factored(h, threads).tobytes() == expected.tobytes()


def test_plans_do_not_depend_on_the_memory_that_they_are_given() -> None:
    h = positive(64)
    made = [
        plan_of(h, QuantType.Q4_0, 0.01, Threads(1), space)[0]
        for space in (None, np.full_like(h, np.nan))
    ]
    for name in ("order", "units", "feedback"):
        one, other = (getattr(plan, name).tobytes() for plan in made)
        assert one == other


@pytest.mark.parametrize("n", SIZES)
def test_factor_gives_the_matrix_back(n: int) -> None:
    """|R^T R - H| <= gamma(n + 1) |R|^T |R| (theorem 10.3), and n products to check."""
    h = positive(n)
    r = factored(h)
    bound = gamma(2 * n + 1, F64_UNIT) * (abs(r).T @ abs(r))
    assert np.all(abs(r.T @ r - h) <= bound)


def test_only_the_upper_triangle_is_read() -> None:
    h = positive(70)
    expected = factored(h)
    h[np.tril_indices(70, -1)] = np.nan
    assert factored(h).tobytes() == expected.tobytes()


@pytest.mark.parametrize("at", [0, 1, 63, 64, 69])
@pytest.mark.parametrize("pivot", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_a_matrix_that_is_not_positive_is_refused(at: int, pivot: float) -> None:
    """The pivot is that of the first row that has no factor."""
    h = np.eye(70)
    h[at, at] = pivot
    with pytest.raises(NotPositive, match="a matrix of 70 rows"):
        factor(h, Threads(2))
    block = at // 64 * 64
    h = np.eye(70)
    h[at, at] = pivot
    assert _native.factor_diagonal(h, block, min(64, 70 - block)) == at - block


def test_a_singular_matrix_is_refused() -> None:
    """Two equal inputs: the second one's pivot is 0."""
    h = np.ones((2, 2))
    with pytest.raises(NotPositive):
        factor(h, Threads(1))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("k", [1, 3, 33])
def test_solved_is_that_of_the_definition(n: int, k: int) -> None:
    r, x = factored(positive(n)), tokens_of(n, k, 3).astype(np.float64)
    expected = solved_by_definition(r, x)
    _native.solve_factored(r, x)
    assert x.tobytes() == expected.tobytes()


def test_solved_does_not_depend_on_the_columns_beside() -> None:
    """Columns in ranges, as threads share them, and more than are held at a time."""
    r, x = factored(positive(45)), tokens_of(45, 300, 3).astype(np.float64)
    expected, parts = x.copy(), x.copy()
    _native.solve_factored(r, expected)
    for start, stop in ((0, 1), (1, 1), (1, 34), (34, 299), (299, 300)):
        _native.solve_factored(r, parts[:, start:stop])
    assert parts.tobytes() == expected.tobytes()


@pytest.mark.parametrize("n", SIZES)
def test_solved_is_near_the_solution(n: int) -> None:
    """|b - Hx| <= gamma(3n + 1) |R|^T |R| |x| (theorem 10.4), n products to check."""
    h, b = positive(n), tokens_of(n, 3, 3).astype(np.float64)
    r, x = factored(h), b.copy()
    _native.solve_factored(r, x)
    size = abs(r).T @ abs(r) @ abs(x)
    assert np.all(abs(b - h @ x) <= gamma(4 * n + 3, F64_UNIT) * size)


def test_rows_are_solved_from_the_right() -> None:
    """`solve_right` is the product with the inverse from the right."""
    r, rows = factored(positive(33)), tokens_of(5, 33, 3).astype(np.float64)
    expected = solved_by_definition(r, np.ascontiguousarray(rows.T)).T
    assert np.array_equal(factoring.solve_right(r, rows), expected)


def test_nothing_has_a_factor() -> None:
    """No rows, no columns, and no tokens are no error."""
    factor(np.empty((0, 0)), Threads(1))
    _native.solve_factored(np.empty((0, 0)), np.empty((0, 3)))
    _native.solve_factored(np.eye(3), np.empty((3, 0)))
    assert (
        _native.gram(np.empty((5, 0), np.float32), tokens_of(5, 3, 1), 0, 0).size == 0
    )
    assert (
        _native.gram(tokens_of(5, 3, 1), np.empty((5, 0), np.float32), 0, 3).size == 0
    )


def fixed_sums() -> F64:
    """Sums over 64 tokens of 192 inputs of which no library's generator decides."""
    x = np.ascontiguousarray(fixed_rows()[:, :192])
    return _native.gram(x, x, 0, 192)


def fixed_factor() -> F64:
    h = fixed_sums()
    return factored(h + np.eye(192) * h.diagonal().mean())


def fixed_solution() -> F64:
    x = fixed_rows()[:, :192].T.astype(np.float64)
    _native.solve_factored(fixed_factor(), x := np.ascontiguousarray(x))
    return x


GOLDEN: dict[str, Callable[[], F64]] = {
    "gram": fixed_sums,
    "factor": fixed_factor,
    "solve": fixed_solution,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    committed = dict(line.split() for line in HASHES.read_text("ascii").splitlines())
    assert committed.keys() == GOLDEN.keys()
    assert digest(GOLDEN[name]()) == committed[name]


if __name__ == "__main__":
    lines = [f"{name} {digest(run())}\n" for name, run in GOLDEN.items()]
    HASHES.write_text("".join(lines), encoding="ascii")
