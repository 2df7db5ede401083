"""The forward pass ops against plain f64 formulas, and the properties they promise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit._native import ENVIRONMENT_VARIABLE, Backend
from quantkit.errors import ShapeError
from quantkit.forward import ops
from quantkit.forward.recurrent_ops import l2_norm
from quantkit.inference.weights import TypedMatrix
from quantkit.types import QuantType

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HALF_UNIT = 2.0**-24
"""The largest relative error of one rounding."""

WIDTHS = [1, 3, 5, 7, 9, 15, 17, 576, 2049]
"""One, one more or less than a vector has of each backend, and real ones."""


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


@pytest.fixture(autouse=True)
def _on(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on each backend of this machine."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matrix(values: F32) -> TypedMatrix:
    return TypedMatrix(values.view(np.uint8), QuantType.F32, values.shape[1])


def rooted(x: F32, epsilon: float) -> F64:
    """Rows over their root mean square, in f64."""
    wide = x.astype(np.float64)
    y: F64 = wide / np.sqrt(np.square(wide).mean(-1, keepdims=True) + epsilon)
    return y


def centred(x: F32, epsilon: float) -> F64:
    """Rows less their mean, over their standard deviation, in f64."""
    wide = x.astype(np.float64)
    wide -= wide.mean(-1, keepdims=True)
    y: F64 = wide / np.sqrt(np.square(wide).mean(-1, keepdims=True) + epsilon)
    return y


@pytest.mark.parametrize("width", WIDTHS)
def test_rms_norm_is_the_formula(width: int) -> None:
    """Each row over its root mean square, times the weight: within a few roundings."""
    x, weight = 3 * normal(5, width), normal(width, seed=1)
    expected = rooted(x, 1e-5)
    for got, by in (
        (ops.rms_norm(x, weight, 1e-5), weight.astype(np.float64)),
        (ops.rms_norm(x, None, 1e-5), np.ones(width)),
    ):
        assert got.dtype == np.float32
        error = np.abs(got - expected * by)
        assert (error <= 5 * HALF_UNIT * np.abs(expected * by)).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_l2_norm_is_the_formula(width: int) -> None:
    """Each row over its length: within a few roundings."""
    x = 3 * normal(5, width)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt(np.square(wide).sum(-1, keepdims=True) + 1e-3)
    error = np.abs(l2_norm(x, 1e-3) - expected)
    assert (error <= 5 * HALF_UNIT * np.abs(expected)).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mean", [0, 2, -1000])
def test_layer_norm_is_the_formula(width: int, mean: float) -> None:
    """Mean 0 and variance 1, then weight and bias; a mean far from 0 costs no digit."""
    x = 3 * normal(5, width) + np.float32(mean)
    weight, bias = normal(width, seed=1), normal(width, seed=2)
    expected = centred(x, 1e-5)
    for w, b in ((weight, bias), (weight, None), (None, bias), (None, None)):
        scaled = expected if w is None else expected * w
        shifted = scaled if b is None else scaled + b
        error = np.abs(ops.layer_norm(x, w, b, 1e-5) - shifted)
        bound = HALF_UNIT * (8 * np.abs(scaled) + np.abs(shifted))
        assert (error <= bound + 1e-12).all()


def test_norms_work_on_each_head() -> None:
    """A [n, heads, size] array is normed along its last axis; heads may differ."""
    x, alike, bias = normal(4, 3, 17), normal(17, seed=1), normal(17, seed=3)
    differing = normal(3, 17, seed=2)
    for weight in (alike, differing):
        rows = [np.broadcast_to(weight, (3, 17))[head].copy() for head in range(3)]
        by_head = [ops.rms_norm(x[:, i], w, 1e-6) for i, w in enumerate(rows)]
        assert np.array_equal(ops.rms_norm(x, weight, 1e-6), np.stack(by_head, 1))
        by_head = [ops.layer_norm(x[:, i], w, bias, 1e-6) for i, w in enumerate(rows)]
        got = ops.layer_norm(x, weight, bias, 1e-6)
        assert np.array_equal(got, np.stack(by_head, 1))


@pytest.mark.parametrize("width", [5, 17, 576])
def test_a_normed_row_does_not_depend_on_the_others(width: int) -> None:
    """Nor on the number of threads; rows that are not finite harm themselves alone."""
    x, weight, bias = normal(40, width), normal(width, seed=1), normal(width, seed=2)
    x[3, width // 2], x[7, 0], x[9, -1] = np.nan, np.inf, -np.inf
    bad = np.isin(np.arange(40), [3, 7, 9])

    def normed(rows: F32) -> F32:
        both = ops.rms_norm(rows, weight, 1e-5), ops.layer_norm(rows, weight, bias, 0)
        return np.stack(both, 1)

    together = normed(x)
    with ThreadPoolExecutor(4) as pool:
        alone = np.concatenate(list(pool.map(normed, np.split(x, 40))))
    assert np.array_equal(alone, together, equal_nan=True)
    assert np.array_equal(np.isnan(together).any((1, 2)), bad)


def test_a_norm_of_another_width_is_refused() -> None:
    """Weights for 3 heads, and rows that are no multiple of 3."""
    with pytest.raises(ShapeError):
        ops.rms_norm(normal(4, 8), normal(3, 8), 1e-5)
    with pytest.raises(ShapeError):
        ops.rms_norm(normal(4, 8), normal(16), 1e-5)


def test_linear_adds_the_bias() -> None:
    """Rows of the matrix are outputs."""
    x, weight, bias = normal(3, 8), normal(5, 8, seed=1), normal(5, seed=2)
    expected = x.astype(np.float64) @ weight.T + bias
    assert np.allclose(ops.linear(x, matrix(weight), bias), expected, atol=1e-6)


def turns(n: int, pairs: int) -> NDArray[np.complex64]:
    angles = np.arange(n)[:, None] * 10.0 ** -np.arange(pairs)
    return np.exp(1j * angles).astype(np.complex64)


def turned(x: F32, pairs: int, interleaved: bool) -> F32:
    """A copy of x [n, heads, size], turned."""
    return ops.turn(x.copy(), turns(len(x), pairs), interleaved=interleaved)


BOTH_LAYOUTS = pytest.mark.parametrize("interleaved", [True, False])


@BOTH_LAYOUTS
@pytest.mark.parametrize(("pairs", "size"), [(1, 2), (4, 12), (32, 64), (33, 67)])
def test_turn_is_the_product_with_each_turn(
    pairs: int, size: int, interleaved: bool
) -> None:
    """Pairs as complex numbers, in f64; what lies beyond them stays."""
    x = normal(6, 2, size)
    wide = x[..., : 2 * pairs].astype(np.float64)
    if interleaved:
        a, b = wide[..., ::2], wide[..., 1::2]
    else:
        a, b = wide[..., :pairs], wide[..., pairs:]
    products = (a + 1j * b) * turns(6, pairs)[:, None]
    axis = -1 if interleaved else -2
    expected = np.stack([products.real, products.imag], axis).reshape(wide.shape)
    bound = np.stack([2 * HALF_UNIT * (abs(a) + abs(b))] * 2, axis).reshape(wide.shape)
    got = turned(x, pairs, interleaved)
    assert (np.abs(got[..., : 2 * pairs] - expected) <= bound).all()
    assert np.array_equal(got[..., 2 * pairs :], x[..., 2 * pairs :])
    assert np.array_equal(got[0], x[0])  # position 0 does not turn


@BOTH_LAYOUTS
def test_turn_depends_on_the_distance_only(interleaved: bool) -> None:
    """q.k after turning is the same for any two positions equally far apart."""
    n, size = 32, 8
    q, k = (np.repeat(normal(1, 1, size, seed=s), n, axis=0) for s in (0, 1))
    q, k = (turned(x, size // 2, interleaved) for x in (q, k))
    products = np.einsum("id,jd->ij", q[:, 0], k[:, 0])
    assert np.allclose(products[3:, :-3].diagonal(), products[3, 0], atol=1e-5)
    assert np.ptp(products[0]) > 0.1


@BOTH_LAYOUTS
def test_turn_writes_over_parts_of_arrays(interleaved: bool) -> None:
    """The end of each head, one head for all, and components with gaps."""
    x = normal(6, 3, 20)
    for part in (np.s_[..., 12:], np.s_[:, :1, 4:12], np.s_[:, ::2, :16:2]):
        y, expected = x.copy(), x.copy()
        expected[part] = turned(x[part], 4, interleaved)
        ops.turn(y[part], turns(6, 4), interleaved=interleaved)
        assert np.array_equal(y, expected)


def test_turns_that_do_not_fit_are_refused() -> None:
    """More pairs than components, and other positions."""
    for n, pairs in ((6, 5), (5, 4)):
        with pytest.raises(ShapeError):
            ops.turn(normal(6, 2, 8), turns(n, pairs), interleaved=True)
