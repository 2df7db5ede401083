"""The forward pass ops against plain f64 formulas, and the properties they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import ops
from quantkit.evaluate.weights import TypedMatrix
from quantkit.types import QuantType

F32 = NDArray[np.float32]


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matrix(values: F32) -> TypedMatrix:
    return TypedMatrix(values.view(np.uint8), QuantType.F32, values.shape[1])


def test_rms_norm_is_the_formula() -> None:
    """Each row over its root mean square, times the weight."""
    x, weight = 3 * normal(5, 64), normal(64, seed=1)
    wide = x.astype(np.float64)
    scale = np.sqrt(np.square(wide).mean(-1, keepdims=True) + 1e-5)
    assert np.allclose(ops.rms_norm(x, weight, 1e-5), wide / scale * weight, rtol=1e-6)


def test_rms_norm_works_on_each_head() -> None:
    """A [n, heads, size] array is normed along its last axis only."""
    x, weight = normal(4, 3, 16), normal(16, seed=1)
    by_head = [ops.rms_norm(x[:, head], weight, 1e-6) for head in range(3)]
    assert np.array_equal(ops.rms_norm(x, weight, 1e-6), np.stack(by_head, 1))


def test_layer_norm_is_the_formula() -> None:
    """Mean 0 and variance 1, then weight and bias."""
    x, weight, bias = 3 * normal(5, 64) + 2, normal(64, seed=1), normal(64, seed=2)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(
        wide.var(-1, keepdims=True) + 1e-5
    )
    got = ops.layer_norm(x, weight, bias, 1e-5)
    assert np.allclose(got, expected * weight + bias, rtol=1e-5, atol=1e-6)
    assert np.allclose(ops.layer_norm(x, None, None, 1e-5), expected, atol=1e-6)


def test_gelu_is_the_formula() -> None:
    """With the error function of the standard library, and with tanh."""
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    exact = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    assert np.abs(ops.gelu(x) - exact).max() < 1e-6
    inner = math.sqrt(2 / math.pi) * (x.astype(np.float64) + 0.044715 * x**3)
    assert np.abs(ops.gelu_tanh(x) - x / 2 * (1 + np.tanh(inner))).max() < 1e-6


def test_soft_cap_keeps_within() -> None:
    """cap * tanh(x / cap); none changes nothing."""
    x = np.float32([-1e4, -1, 0, 1, 1e4])
    wide = x.astype(np.float64)
    assert np.allclose(ops.soft_capped(x.copy(), 30), 30 * np.tanh(wide / 30))
    assert np.array_equal(ops.soft_capped(x.copy(), None), x)


def test_silu_survives_large_inputs() -> None:
    """silu is 0 far below zero and the identity far above; nothing overflows."""
    gate = np.float32([[-2e4, -100, -1, 0, 1, 100, 2e4]])
    wide = gate.astype(np.float64)
    with np.errstate(over="ignore"):
        expected = wide / (1 + np.exp(-wide))
    got = ops.silu(gate.copy())
    assert np.allclose(got, expected, rtol=1e-6, atol=1e-30)


def test_linear_adds_the_bias() -> None:
    """Rows of the matrix are outputs."""
    x, weight, bias = normal(3, 8), normal(5, 8, seed=1), normal(5, seed=2)
    expected = x.astype(np.float64) @ weight.T + bias
    assert np.allclose(ops.linear(x, matrix(weight), bias), expected, atol=1e-6)


def turns(n: int, pairs: int) -> NDArray[np.complex64]:
    angles = np.arange(n)[:, None] * 10.0 ** -np.arange(pairs)
    return np.exp(1j * angles).astype(np.complex64)


@pytest.mark.parametrize("interleaved", [True, False])
def test_turn_depends_on_the_distance_only(interleaved: bool) -> None:
    """q.k after turning is the same for any two positions equally far apart."""
    n, size = 32, 8
    q, k = (np.repeat(normal(1, 1, size, seed=s), n, axis=0) for s in (0, 1))
    q, k = (ops.turn(x, turns(n, size // 2), interleaved=interleaved) for x in (q, k))
    products = np.einsum("id,jd->ij", q[:, 0], k[:, 0])
    assert np.allclose(products[3:, :-3].diagonal(), products[3, 0], atol=1e-5)
    assert np.ptp(products[0]) > 0.1


def test_turn_layouts_differ_by_a_permutation() -> None:
    """Interleaving the halves before turning gives the interleaved result."""
    x = normal(6, 2, 8)
    order = np.arange(8).reshape(2, 4).T.ravel()
    halves = ops.turn(x, turns(6, 4), interleaved=False)
    pairs = ops.turn(x[..., order], turns(6, 4), interleaved=True)
    assert np.allclose(pairs, halves[..., order], atol=1e-6)
    assert np.array_equal(pairs[0], x[0][..., order])  # position 0 does not turn


def test_turn_of_a_part_leaves_the_rest() -> None:
    """Fewer pairs than a head has: the components beyond them stay."""
    x = normal(6, 2, 12)
    for interleaved in (True, False):
        got = ops.turn(x, turns(6, 4), interleaved=interleaved)
        part = ops.turn(x[..., :8], turns(6, 4), interleaved=interleaved)
        assert np.array_equal(got[..., :8], part)
        assert np.array_equal(got[..., 8:], x[..., 8:])
