"""Functions of single numbers on every backend, against double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit._native import ENVIRONMENT_VARIABLE, Backend, Function, activate
from quantkit.forward import ops
from quantkit.forward.recurrent_ops import softplus

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HALF_UNIT = 2.0**-24
"""The largest relative error of one rounding."""

ERF: Callable[[F64], F64] = np.vectorize(math.erf, otypes=[np.float64])

# Of these, `up` is a factor of the result.
GATED = [ops.silu, ops.gelu, ops.gelu_tanh, ops.relu]


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


@pytest.fixture(autouse=True)
def _on(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on each backend of this machine."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)


def floats_of_all_sizes() -> F32:
    """A regular sample of all floats of both signs, without NaN."""
    sizes = np.arange(0, 0x7F800001, 9973, dtype=np.uint32)
    return np.concatenate([sizes, sizes | np.uint32(1 << 31)]).view(np.float32)


def applied(function: Function, x: F32, backend: Backend) -> F32:
    y = np.empty_like(x)
    activate(function, x, None, y, backend)
    return y


def units(got: F32, expected: F64) -> F64:
    """Errors in units in the last place (ulp) of the expected values."""
    unit = np.spacing(np.abs(expected.astype(np.float32))).astype(np.float64)
    return np.abs(got - expected) / unit


def spread(n: int = 100_001, most: float = 100.0) -> F32:
    """Numbers from -most to most, dense near 0."""
    at = np.linspace(-1, 1, n)
    return (most * at**3).astype(np.float32)


def test_exp_is_within_a_unit(backend: Backend) -> None:
    """From where results are normal numbers to where they overflow."""
    x = floats_of_all_sizes()
    x = np.append(x[(x >= -87.3) & (x <= 88.3)], np.array([-87.3, 88.3], np.float32))
    errors = units(applied(Function.EXP, x, backend), np.exp(x.astype(np.float64)))
    assert errors.max() <= 1
    assert (
        applied(Function.EXP, np.array([0, -0.0, 1e-30], np.float32), backend).tolist()
        == [1.0] * 3
    )


def test_exp_beyond_its_range(backend: Backend) -> None:
    """Zero, infinity or NaN, and no jump before."""
    least, most = np.array([-87.3, 88.3], np.float32)
    below = np.append(-np.geomspace(87.31, 3e38, 99), [-np.inf]).astype(np.float32)
    below[0] = np.nextafter(least, np.float32(-np.inf))
    assert (applied(Function.EXP, below, backend) == 0).all()
    above = np.append(np.geomspace(88.31, 3e38, 99), [np.inf]).astype(np.float32)
    above[0] = np.nextafter(most, np.float32(np.inf))
    assert (applied(Function.EXP, above, backend) == np.inf).all()
    nan = np.full(20, np.nan, np.float32)
    assert np.isnan(applied(Function.EXP, nan, backend)).all()


@pytest.mark.parametrize(
    ("function", "formula"), [(Function.TANH, np.tanh), (Function.ERF, ERF)]
)
def test_odd_functions_are_within_two_units(
    backend: Backend, function: Function, formula: Callable[[F64], F64]
) -> None:
    """Of floats of every size, also near zero; infinities give one, NaN gives NaN."""
    x = floats_of_all_sizes()
    got = applied(function, x, backend)
    assert units(got, formula(x.astype(np.float64))).max() <= 2
    assert np.isnan(
        applied(function, np.array([np.nan, 0, np.nan], np.float32), backend)[0]
    )


def test_softplus_is_within_three_units() -> None:
    """Until exp underflows; 0 from there on, and x where that is large."""
    x = np.concatenate([spread(), floats_of_all_sizes()])
    expected = np.logaddexp(x.astype(np.float64), 0)
    normal = x >= -87
    got = softplus(x)
    assert units(got[normal], expected[normal]).max() <= 3
    assert np.abs(got[~normal] - expected[~normal]).max() < 2e-38
    assert np.isnan(softplus(np.full(20, np.nan, np.float32))).all()


def test_sigmoid_and_silu_are_the_formulas() -> None:
    """Within a few units, until exp overflows; 0 from there on."""
    x = spread()
    wide = x.astype(np.float64)
    share = 1 / (1 + np.exp(-wide))
    normal = x >= -87
    for got, expected in (
        (ops.sigmoid(x.copy()), share),
        (ops.silu(x.copy()), wide * share),
    ):
        assert units(got[normal], expected[normal]).max() <= 3
        assert np.abs(got[~normal] - expected[~normal]).max() < 1e-35
    far = np.array([-2e4, -3e38, 2e4, 3e38], np.float32)
    assert ops.silu(far.copy()).tolist() == [0, 0, *far[2:].tolist()]
    assert ops.sigmoid(np.array([-np.inf, np.inf], np.float32)).tolist() == [0, 1]


def test_gelu_is_the_formula() -> None:
    """With the error function of the standard library."""
    x = spread(most=10)
    wide = x.astype(np.float64)
    expected = wide / 2 * (1 + ERF(wide / math.sqrt(2)))
    assert (np.abs(ops.gelu(x.copy()) - expected) <= 4 * HALF_UNIT * np.abs(x)).all()


def test_gelu_tanh_is_the_formula() -> None:
    """The tail keeps its digits: the error grows as that of the exponent does."""
    x = spread(most=10)
    wide = x.astype(np.float64)
    twice = 2 * math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    expected = wide / (1 + np.exp(-twice))
    bound = HALF_UNIT * (6 + 4 * np.abs(twice)) * np.abs(expected) + 1e-35
    assert (np.abs(ops.gelu_tanh(x.copy()) - expected) <= bound).all()
    far = np.array([-3e38, -1e13, 1e13, 3e38], np.float32)
    assert ops.gelu_tanh(far.copy()).tolist() == [0, 0, *far[2:].tolist()]


def test_relu_is_exact() -> None:
    """max(x, 0), infinities too."""
    x = np.append(spread(101), np.array([-np.inf, np.inf], np.float32))
    assert np.array_equal(ops.relu(x.copy()), np.maximum(x, 0))


def test_swiglu_clamped_is_the_formula() -> None:
    """gpt-oss: gate at most 7, up within 7, and one added to it."""
    gate, up = spread(20_001, 50), np.random.default_rng(0).permutation(spread(20_001))
    low, high = np.minimum(gate, 7).astype(np.float64), np.clip(up, -7, 7)
    expected = low / (1 + np.exp(-1.702 * low)) * (high.astype(np.float64) + 1)
    bound = HALF_UNIT * (10 + 4 * 1.702 * np.abs(low)) * np.abs(expected) + 1e-35
    assert (np.abs(ops.swiglu_clamped(gate.copy(), up) - expected) <= bound).all()


@pytest.mark.parametrize("cap", [30.0, 50.0, 0.5])
def test_soft_cap_keeps_within(cap: float) -> None:
    """cap * tanh(x / cap); none changes nothing."""
    x = np.append(spread(most=1000), np.array([-np.inf, np.inf], np.float32))
    got = ops.soft_capped(x.copy(), cap)
    assert units(got, cap * np.tanh(x.astype(np.float64) / cap)).max() <= 4
    assert np.abs(got).max() <= cap
    for without in (None, 0.0):
        assert np.array_equal(ops.soft_capped(x.copy(), without), x)


@pytest.mark.parametrize("function", GATED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("n", [1, 3, 7, 9, 15, 17, 576, 2049])
def test_gating_is_one_product_more(function: Callable[..., F32], n: int) -> None:
    """activation(gate) * up, to the bit, over gate."""
    rng = np.random.default_rng(n)
    gate, up = rng.standard_normal((2, 3, n)).astype(np.float32)
    expected = function(gate.copy()) * up
    got = function(gate, up)
    assert got is gate
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("function", [*GATED, ops.sigmoid], ids=lambda f: f.__name__)
def test_a_number_does_not_depend_on_the_others(function: Callable[..., F32]) -> None:
    """Nor on its position, the thread, or NaN next to it."""
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    together = function(x.copy())
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda i: function(x[i : i + 37].copy()), range(0, 1000, 37))
        assert np.array_equal(np.concatenate(list(parts)), together)
    x[::2] = np.nan
    assert np.isnan(function(x.copy())[::2]).all()
    assert np.array_equal(function(x.copy())[1::2], together[1::2])


def test_arrays_with_gaps_are_written_over_too() -> None:
    """Every other column, and its neighbours stay."""
    x = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    y, up = x.copy(), np.ascontiguousarray(x[:, 1::2])
    part = y[:, ::2]
    assert ops.silu(part, x[:, 1::2]) is part
    assert np.array_equal(part, ops.silu(x[:, ::2].copy(), up))
    assert np.array_equal(y[:, 1::2], x[:, 1::2])
