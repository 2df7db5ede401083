"""Every lane op of every backend gives the bits of the one-lane definition."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from quantkit._core import ffi, lib
from quantkit._native import Backend, backends

OPS = [
    ffi.string(lib.qk_lane_op_name(i)).decode() for i in range(lib.qk_lane_op_count())
]

# The layer stays small on purpose: every op is written once per instruction set.
MOST_OPS = 51

FLOATS = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 0.49999997, 3.14159265, 1e-15),
        *(1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38),
        *(np.inf, -np.inf, np.nan, 8388608.5, 12582912.0),
        *(2147483520.0, 2147483648.0, -2147483648.0, -2147483904.0),
    ],
    np.float32,
).view(np.int32)
INTEGERS = np.array(
    [0, 1, -1, 2, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 0x12345678],
    np.int32,
)
EDGES = np.concatenate([FLOATS, INTEGERS])

# Ops of two operands; memory ops have their own test.
BINARY = {"add", "sub", "mul", "div", "gt", "eq", "and", "or", "min", "max"}
BINARY |= {"lesser", "greater"}
MEMORY = {
    "load",
    "store",
    "load_i8",
    "load_u8",
    "load_u16",
    "load_eights",
    "store_u16",
    "lookup",
    "lookup4",
    "lookup8",
    "lookup16",
    "transpose",
}
MEMORY |= {"set1", "any", "first", "least"}


# One op by name, on arrays of int32, as one that takes lanes * lanes of them.
Run = Callable[..., np.ndarray]


def family(op: str) -> str:
    return op.split("_", 1)[1]


ELEMENTWISE = [op for op in OPS if family(op) not in MEMORY]


def padded(values: np.ndarray, size: int) -> np.ndarray:
    """The values over and over, as int32 [size]."""
    return np.resize(np.asarray(values, np.int32), size)


def run(backend: Backend, op: str, *inputs: np.ndarray) -> np.ndarray:
    """One op on arrays of int32 [lanes * lanes]."""
    out = np.zeros(backend.lanes**2, np.int32)
    operands = [padded(i, out.size) for i in inputs]
    operands += [np.zeros_like(out)] * (3 - len(operands))
    pointers = [ffi.from_buffer("int32_t[]", p) for p in (*operands, out)]
    assert lib.qk_lane_op(backend.index, OPS.index(op), *pointers) == lib.QK_OK
    return out


def run_on_all(backend: Backend, op: str, *inputs: np.ndarray) -> np.ndarray:
    """One elementwise op on arrays of any length."""
    n, step = len(inputs[0]), backend.lanes
    parts = [
        run(backend, op, *(i[s : s + step] for i in inputs))[: min(step, n - s)]
        for s in range(0, n, step)
    ]
    return np.concatenate(parts)


def numbers_equal(op: str, a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits; where both are NaN, the payload is the machine's own affair."""
    if op.startswith("lf32") and family(op) not in {"gt", "eq", "bits"}:
        nan = np.isnan(a.view(np.float32)) & np.isnan(b.view(np.float32))
        return bool(((a == b) | nan).all())
    return bool((a == b).all())


def edge_operands(op: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every edge value, or every pair of them, and a mask."""
    if family(op) in BINARY or "select" in op:
        a, b = (np.array(v) for v in zip(*itertools.product(EDGES, EDGES), strict=True))
    else:
        a = b = EDGES
    return a, b, padded(np.array([1, 0, 0, 1, 1]), len(a))


def test_the_layer_stays_small() -> None:
    """An op is added only where no kernel can do without it."""
    assert len(OPS) == len(set(OPS)) <= MOST_OPS


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_op_equals_the_scalar_definition(backend: Backend, op: str) -> None:
    """Elementwise ops agree on every pair of edge values."""
    scalar = backends()[-1]
    operands = edge_operands(op)
    expected = run_on_all(scalar, op, *operands)
    assert numbers_equal(op, run_on_all(backend, op, *operands), expected)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("lf32_add", lambda a, b: a + b),
        ("lf32_sub", lambda a, b: a - b),
        ("lf32_mul", lambda a, b: a * b),
        ("lf32_div", lambda a, b: a / b),
    ],
)
def test_scalar_arithmetic_is_ieee(
    op: str, expected: Callable[..., np.ndarray]
) -> None:
    """The definition itself agrees with NumPy's float32 arithmetic."""
    a, b = (np.array(v) for v in zip(*itertools.product(FLOATS, FLOATS), strict=True))
    with np.errstate(all="ignore"):
        want = expected(a.view(np.float32), b.view(np.float32)).view(np.int32)
    assert numbers_equal(op, run_on_all(backends()[-1], op, a, b), want)


def test_trunc_gives_int_min_out_of_range(backend: Backend) -> None:
    """Float to int is truncation; NaN, infinities and overflow give INT32_MIN."""
    with np.errstate(invalid="ignore"):
        values = FLOATS.view(np.float32)
        inside = (values >= -(2.0**31)) & (values < 2.0**31)
        want = np.where(inside, np.where(inside, values, 0).astype(np.int64), -(2**31))
    assert (run_on_all(backend, "li32_trunc", FLOATS) == want).all()


def test_round_is_half_to_even(backend: Backend) -> None:
    """The nearest integer, on halves and on values of every size in its range."""
    rng = np.random.default_rng(0)
    halves = np.arange(-9, 9, dtype=np.float32) + np.float32(0.5)
    spread = rng.uniform(-1, 1, 500) * np.geomspace(1e-3, 2.0**22, 500)
    values = np.concatenate([halves, spread.astype(np.float32), [-(2.0**22)]])
    values = values.astype(np.float32)
    found = run_on_all(backend, "lf32_round", values.view(np.int32))
    assert (found.view(np.float32) == np.rint(values)).all()


def check_memory_ops(run: Run, n: int) -> None:
    """Loads widen, stores narrow, constants spread, and masks see every lane."""
    data = np.arange(n * n, dtype=np.int32) * 0x01030507
    raw = data.tobytes()
    for op in ("lf32_load", "lf32_store", "li32_load", "li32_store"):
        assert (run(op, data)[:n] == data[:n]).all()
    u8 = np.frombuffer(raw, np.uint8, n)
    u16 = np.frombuffer(raw, "<u2", n)
    assert (run("li32_load_u8", data)[:n] == u8).all()
    assert (run("li32_load_i8", data)[:n] == u8.view(np.int8)).all()
    assert (run("li32_load_u16", data)[:n] == u16).all()
    # Two eights, 0..7 and -8..-1, from any multiple of the lanes on.
    eights = np.array([*range(8), *range(-8, 0)])
    for start in range(0, 16, n):
        found = run("li32_load_eights", np.array([start // n]))
        assert (found[:n] == eights[start : start + n]).all()
    stored = run("li32_store_u16", data).tobytes()
    assert (np.frombuffer(stored, "<u2", n) == data[:n] & 0xFFFF).all()
    index = np.arange(n, dtype=np.int32)[::-1].copy()
    assert (run("li32_lookup", data, index)[:n] == data[:n][::-1]).all()
    thirds = run("lf32_lookup16", data, index + 3).view(np.float32)[:n]
    assert (thirds == 3 * ((index + 3) & 15)).all()
    # The short lookups look at the low bits of an index only.
    for size in (4, 8):
        found = run(f"lf32_lookup{size}", data, index * 0x1234567).view(np.float32)[:n]
        assert (found == 3 * (index * 0x1234567 & (size - 1))).all()
    for op in ("lf32_set1", "li32_set1"):
        assert (run(op, np.array([7]))[:n] == 7).all()
    for lane in range(n):
        one_hot = np.eye(1, n, lane, dtype=np.int32)[0]
        assert run("lmask_any", one_hot)[0] != 0
        assert run("lmask_first", one_hot)[0] == lane
        from_lane_on = (np.arange(n) >= lane).astype(np.int32)
        assert run("lmask_first", from_lane_on)[0] == lane
        for others in (0, 2**31 - 1):
            least = np.where(one_hot == 1, -(2**31) + lane, others)
            assert run("lane_least", least)[0] == -(2**31) + lane
    assert run("lmask_any", np.zeros(n, np.int32))[0] == 0
    # Column j of the rows becomes vector j.
    rows = np.arange(n * n, dtype=np.int32)
    assert (run("lane_transpose", rows) == rows.reshape(n, n).T.ravel()).all()


def test_memory_ops(backend: Backend) -> None:
    """Loads, stores, lookups, constants and the transpose, on each backend."""
    check_memory_ops(partial(run, backend), backend.lanes)
