"""Sums over tokens and Cholesky factors, for calibrated rounding (docs/calibration.md).

Every result has a fixed order of operations, which depends neither on the backend nor
on how the work is divided.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import DOUBLE, FLOAT, read, shape_of, strided, written
from .backend import active_backend
from .statuses import check_status

__all__ = [
    "factor_below",
    "factor_beside",
    "factor_diagonal",
    "gram",
    "solve_factored",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LINE = 16
"""Floats in a cache line."""


def gram(a: F32, b: F32, first: int, count: int, *, upper: bool = False) -> F64:
    """Rows first..first+count-1 of the transpose of `a` times `b`: f64 [count, m].

    Tokens are summed in order, 256 at a time in f32, and these sums in f64.

    Args:
        a: f32 [tokens, n]; its rows may be apart.
        b: f32 [tokens, m], C-contiguous.
        first: the first column of `a`.
        count: the number of columns.
        upper: only columns from `first` on are needed; those before it are 0.

    Raises:
        ShapeError: the arrays do not fit each other.
    """
    n_tokens, n = shape_of("a", a, 2)
    m = shape_of("b", b, 2)[1]
    strided(FLOAT, "a", a, (n_tokens, n))
    if not 0 <= first <= first + count <= n:
        raise ShapeError(f"columns {first} to {first + count} of an array with {n}")
    columns = np.empty((count, n_tokens), np.float32)
    for t in range(0, n_tokens, LINE):  # whole lines are written at once
        columns[:, t : t + LINE] = a[t : t + LINE, first : first + count].T
    sums = np.empty((count, m), np.float64)
    status = lib.qk_gram(
        active_backend().index,
        read(FLOAT, "a", columns, (count, n_tokens)),
        count,
        read(FLOAT, "b", b, (n_tokens, m)),
        m,
        n_tokens,
        first if upper else 0,
        written(DOUBLE, "sums", sums, sums.shape),
    )
    check_status(status, f"the sums of {n} and {m} inputs")
    return sums


def factor_diagonal(h: F64, at: int, size: int) -> int:
    """Factor the diagonal block of `h` [n, n] at `at`, in its place.

    The steps of a factor H = R^T R, R upper triangular, are this, `factor_beside` and
    `factor_below`, for one block of rows after the other.

    Returns:
        The rows that were done: fewer than `size` if H is not positive definite.
    """
    n, done = _size_of(h), ffi.new("size_t *")
    status = lib.qk_factor_diagonal(
        active_backend().index, _square(h, n), n, at, size, done
    )
    check_status(status, f"a matrix of {n} rows")
    return int(done[0])


def factor_beside(h: F64, at: int, size: int, first: int, count: int) -> None:
    """The factor's rows at..at+size-1, in columns first..first+count-1 right of it."""
    n = _size_of(h)
    where = _square(h, n), n, at, size, first, count
    status = lib.qk_factor_beside(active_backend().index, *where)
    check_status(status, f"a matrix of {n} rows")


def factor_below(h: F64, at: int, size: int, first: int, count: int) -> None:
    """Subtract what a block explains from rows first..first+count-1 below it."""
    n = _size_of(h)
    where = _square(h, n), n, at, size, first, count
    status = lib.qk_factor_below(active_backend().index, *where)
    check_status(status, f"a matrix of {n} rows")


def solve_factored(r: F64, x: F64) -> None:
    """Replace x f64 [n, k] by (R^T R)^-1 x; r f64 [n, n], upper triangular.

    The columns of `x` are independent of each other, so threads may share them.

    Raises:
        ShapeError: the arrays do not fit each other.
    """
    n, k = _size_of(r), shape_of("x", x, 2)[1]
    memory, steps = strided(DOUBLE, "x", x, (n, k), write=True)
    status = lib.qk_solve_factored(
        active_backend().index, _read_square(r, n), n, memory, max(*steps, k), k
    )
    check_status(status, f"{k} columns of {n} rows")


def _size_of(h: F64) -> int:
    return shape_of("h", h, 2)[0]


def _square(h: F64, n: int) -> object:
    return written(DOUBLE, "h", h, (n, n))


def _read_square(h: F64, n: int) -> object:
    return read(DOUBLE, "r", h, (n, n))
