"""Native matrix products against NumPy in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pytest

from quantkit._native import (
    Backend,
    Packed,
    Precision,
    backends,
    matmul,
    pack_activations,
    packing_for,
)
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.errors import QuantkitError, ShapeError
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES, NATIVE_TYPES

SHAPES = [(1, 1, 1), (7, 33, 3), (13, 70, 9)]
"""Rows of x, rows of w, blocks of a row; 9 of 256 are more than a tile has columns."""

ROUNDING = 1e-6
"""What f32 sums may be off, relative to the sum of |x| |w|."""


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


@dataclass(frozen=True)
class Case:
    """Random activations and weights.

    Attributes:
        x: f32 [m, k].
        data: the weights in blocks, [n, row bytes].
        w: the weights as f64 [n, k].
        type: of the weights.
    """

    x: np.ndarray
    data: np.ndarray
    w: np.ndarray
    type: QuantType

    def product(self, backend: Backend, precision: Precision) -> np.ndarray:
        """[m, n], from the core."""
        return product(backend, self.x, self.data, self.type, precision)

    @cached_property
    def exact(self) -> np.ndarray:
        """[m, n], in f64."""
        y: np.ndarray = self.x @ self.w.T
        return y

    @cached_property
    def magnitude(self) -> np.ndarray:
        """Sums of |x| |w|: [m, n]."""
        return np.abs(self.x).astype(np.float64) @ np.abs(self.w).T

    @cached_property
    def as_q8(self) -> np.ndarray:
        """[m, n], with activations as llama.cpp's CPU path rounds them."""
        if self.type.block_size == 256:
            y: np.ndarray = rounded_to_q8_k(self.x) @ self.w.T
            return y
        return q8_0_product(self)


def product(
    backend: Backend,
    x: np.ndarray,
    data: np.ndarray,
    type: QuantType,
    precision: Precision,
) -> np.ndarray:
    """X times the transpose of the weights, written amid other numbers."""
    y = np.full((len(x), len(data) + 5), 7, np.float32)
    matmul(packed(backend, x, type, precision), data, type, y[:, 2:-3])
    assert (y[:, :2] == 7).all()
    assert (y[:, -3:] == 7).all()
    return y[:, 2:-3]


def packed(
    backend: Backend, x: np.ndarray, type: QuantType, precision: Precision
) -> Packed:
    return pack_activations(x, packing_for(type, precision), backend)


@cache  # all backends have the same cases
def make_case(type: QuantType, shape: tuple[int, int, int], k: int = 0) -> Case:
    """A case of (m, n, blocks of a row), or of k columns."""
    m, n, blocks = shape
    k = k or blocks * (type.block_size if type.block_size > 1 else 77)
    rng = np.random.default_rng(m)
    x = rng.standard_normal((m, k)).astype(np.float32)
    w = rng.standard_normal((n, k)).astype(np.float32)
    importance = np.ones(k, np.float32) if type.is_quantized else None
    data = quantize_rows(w, type, importance)
    return Case(x, data, dequantize_rows(data, type, k).astype(np.float64), type)


def step_bound(x: np.ndarray, w: np.ndarray, top: float) -> np.ndarray:
    """The most that rounding x to 2 * top + 1 levels per 32 changes a product by."""
    steps = np.abs(x.reshape(len(x), -1, 32)).max(axis=2).astype(np.float64) / top
    sums = np.abs(w).reshape(len(w), -1, 32).sum(axis=2)
    return steps / 2 @ sums.T


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_unpacked_weights_are_the_dequantized_ones(
    backend: Backend, type: QuantType
) -> None:
    """Times the identity, to the bit."""
    k = max(64, type.block_size)
    case = make_case(type, (1, 37, 1), k)
    y = product(backend, np.eye(k, dtype=np.float32), case.data, type, Precision.F32)
    assert np.array_equal(y.T, case.w)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_f32_is_exact_to_rounding(
    backend: Backend, type: QuantType, shape: tuple[int, int, int]
) -> None:
    """Whatever the remainders."""
    case = make_case(type, shape)
    error = np.abs(case.product(backend, Precision.F32) - case.exact)
    assert (error <= ROUNDING * case.magnitude).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_i16_errs_by_half_a_step_at_most(
    backend: Backend, block_type: QuantType, shape: tuple[int, int, int]
) -> None:
    """A step is a 32767th of the largest of 32."""
    case = make_case(block_type, shape)
    error = np.abs(case.product(backend, Precision.I16) - case.exact)
    bound = step_bound(case.x, case.w, 32767)
    assert (error <= bound + 4 * ROUNDING * case.magnitude).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_q8_is_llamacpps_arithmetic(
    backend: Backend, block_type: QuantType, shape: tuple[int, int, int]
) -> None:
    """Activations rounded as its CPU path rounds them; sums exact to f32."""
    check_q8(backend, make_case(block_type, shape))


def check_q8(backend: Backend, case: Case) -> None:
    """The product in 8 bits is exact to the rounding of f32."""
    error = np.abs(case.product(backend, Precision.Q8) - case.as_q8)
    assert (error <= 4 * ROUNDING * case.magnitude).all()


def q8_0_product(case: Case) -> np.ndarray:
    """Blocks of 32 with a half-precision scale (quantize_row_q8_0 and _q8_1).

    Where weights have a minimum, it counts the scaled sum of a block's codes, which is
    in half precision too.
    """
    blocks = case.x.reshape(len(case.x), -1, 32)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    codes = np.rint(blocks * (np.float32(127) / largest)).astype(np.float64)
    scale = largest / np.float32(127)
    stored = scale.astype(np.float16).astype(np.float64)
    y = (codes * stored).reshape(case.x.shape) @ case.w.T
    if case.type in (QuantType.Q4_1, QuantType.Q5_1):
        sums = codes.sum(axis=2, dtype=np.float32) * scale[..., 0]
        data = case.data.reshape(len(case.data), -1, case.type.block_bytes)
        minimum = np.ascontiguousarray(data[..., 2:4]).view(np.float16)[..., 0]
        of_sums = sums.astype(np.float16).astype(np.float64)
        y += (of_sums - codes.sum(axis=2) * stored[..., 0]) @ minimum.T.astype(float)
    return y


def rounded_to_q8_k(x: np.ndarray) -> np.ndarray:
    """Blocks of 256, the first of largest magnitude at -127 (quantize_row_q8_K)."""
    blocks = x.reshape(-1, 256)
    first = np.abs(blocks).argmax(axis=1)
    extreme = np.take_along_axis(blocks, first[:, None], axis=1)
    inverse = np.float32(-127) / extreme
    codes = np.minimum(np.rint(blocks * inverse), 127).astype(np.float64)
    return (codes * (1 / inverse).astype(np.float64)).reshape(x.shape)


def test_no_codes_are_too_large_for_the_sums(
    backend: Backend, block_type: QuantType
) -> None:
    """Any bytes of a block, times activations of the largest codes, in both signs.

    Activations have the signs of a row of weights, or the opposite: its products add up
    to the most that integer sums come to.
    """
    case = any_bytes_case(block_type)
    check_q8(backend, case)
    error = np.abs(case.product(backend, Precision.I16) - case.exact)
    assert (error <= 4 * ROUNDING * case.magnitude).all()


def any_bytes_case(type: QuantType) -> Case:
    """Rows of one byte only, for each byte, and rows of random ones; k is 256.

    What is a number in the blocks stays one that quantization has given.
    """
    rng = np.random.default_rng(0)
    blocks, size = 256 // type.block_size, type.block_bytes
    same = np.arange(256, dtype=np.uint8).repeat(blocks * size)
    mixed = rng.integers(0, 256, 64 * blocks * size, np.uint8)
    data = np.concatenate([same, mixed]).reshape(-1, blocks, size)
    numbers = slice(*NUMBERS_AT.get(type, (0, 2)))
    quantized = make_case(type, (1, len(data), blocks)).data.reshape(data.shape)
    data[..., numbers] = quantized[..., numbers]
    rows = data.reshape(len(data), -1)
    w = dequantize_rows(rows, type, 256)
    signs = np.where(w < 0, np.float32(-1), np.float32(1))
    return Case(np.concatenate([signs, -signs]), rows, w.astype(np.float64), type)


NUMBERS_AT = {
    QuantType.Q4_1: (0, 4),
    QuantType.Q5_1: (0, 4),
    QuantType.MXFP4: (0, 1),
    QuantType.NVFP4: (0, 4),
    QuantType.Q2_K: (80, 84),
    QuantType.Q3_K: (108, 110),
    QuantType.Q4_K: (0, 4),
    QuantType.Q5_K: (0, 4),
    QuantType.Q6_K: (208, 210),
    QuantType.IQ1_M: (48, 56),  # amid the scales
    QuantType.TQ1_0: (52, 54),
    QuantType.TQ2_0: (64, 66),
}
"""Where a block has numbers in floating point, if not in its first two bytes."""


@pytest.mark.parametrize("precision", Precision, ids=lambda p: p.name)
def test_backends_agree(
    backend: Backend, block_type: QuantType, precision: Precision
) -> None:
    """Integers are the same everywhere; sums of floats are taken in another order."""
    case = make_case(block_type, (9, 50, 3))
    expected = case.product(backends()[-1], precision)
    error = np.abs(case.product(backend, precision) - expected)
    assert (error <= ROUNDING * case.magnitude).all()


@pytest.mark.parametrize("precision", Precision, ids=lambda p: p.name)
@pytest.mark.parametrize("type", [QuantType.Q5_1, QuantType.Q6_K, QuantType.F16])
def test_a_row_does_not_depend_on_the_others(
    backend: Backend, type: QuantType, precision: Precision
) -> None:
    """Of activations or of weights: to the bit."""
    case = make_case(type, (11, 40, 1), 2304)
    y = case.product(backend, precision)
    alone = product(backend, case.x[8:9], case.data[35:], type, precision)
    assert (y[8:9, 35:] == alone).all()


@pytest.mark.parametrize("precision", Precision, ids=lambda p: p.name)
@pytest.mark.parametrize("type", BLOCK_TYPES, ids=lambda t: t.name)
def test_rows_that_are_zero_or_not_finite(
    backend: Backend, type: QuantType, precision: Precision
) -> None:
    """Zeros and the smallest numbers give zeros, and only a bad row is bad."""
    case = make_case(type, (6, 20, 1), 512)
    x = case.x.copy()
    x[1], x[2] = 0, 1e-42
    x[3, 300], x[4, 5] = np.inf, np.nan
    y = product(backend, x, case.data, type, precision)
    assert (y[1] == 0).all()
    assert (np.abs(y[2]) < 1e-35).all()
    assert not np.isfinite(y[3:5]).any()
    assert (y[[0, 5]] == case.product(backend, precision)[[0, 5]]).all()


def test_activations_are_shared_by_types_of_one_packing(backend: Backend) -> None:
    """Q4_K and Q6_K, as in one layer of a Q4_K_M file."""
    first = make_case(QuantType.Q4_K, (3, 16, 1), 512)
    second = make_case(QuantType.Q6_K, (3, 16, 1), 512)
    x = packed(backend, first.x, QuantType.Q4_K, Precision.Q8)
    y = np.empty((3, 16), np.float32)
    matmul(x, second.data, QuantType.Q6_K, y)
    assert (
        y == product(backend, first.x, second.data, second.type, Precision.Q8)
    ).all()


def test_weights_that_need_another_packing_are_refused(backend: Backend) -> None:
    """Blocks of 32 and blocks of 256 differ in 8 bits."""
    case = make_case(QuantType.Q4_0, (3, 16, 1), 512)
    x = packed(backend, case.x, QuantType.Q4_K, Precision.Q8)
    with pytest.raises(QuantkitError):
        matmul(x, case.data, QuantType.Q4_0, np.empty((3, 16), np.float32))


def test_columns_that_are_no_blocks_are_refused(backend: Backend) -> None:
    """33 columns have no scale per 32."""
    with pytest.raises(ShapeError):
        packed(backend, np.zeros((2, 33), np.float32), QuantType.Q4_0, Precision.I16)
