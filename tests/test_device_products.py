"""Matrix products on devices: what cuBLAS is asked, f16 factors, tiles, moved rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from quantkit._device import Products
from quantkit._device.cublas import Cublas
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.errors import DeviceMemoryError
from quantkit.forward.base import Activations
from quantkit.inference import device_matrix
from quantkit.inference.device_loading import moved_weights
from quantkit.inference.device_matrix import DeviceMatrix
from quantkit.inference.halves import are_plain, halved
from quantkit.inference.moving import Mover, Rows
from quantkit.inference.stored import Resident
from quantkit.inference.weights import TypedMatrix
from quantkit.types import QuantType

from .strict_arrays import StrictArray, strict
from .strict_card import StrictCard

F32 = NDArray[np.float32]
RNG = np.random.default_rng(20)
DTYPES = {0: np.float32, 2: np.float16}


class FakeCublas:
    """cuBLAS's gemmEx on the host's memory, with its matrices stored by columns."""

    def __init__(self) -> None:
        self.modes: list[tuple[int, int]] = []
        self.computed: list[int] = []

    def create(self) -> int:
        return 77

    def getVersion(self, handle: int) -> int:
        assert handle == 77
        return 130104

    def setPointerMode(self, handle: int, mode: int) -> None:
        self.modes.append((handle, mode))

    def gemmEx(self, handle: int, *given: int) -> None:
        (transa, transb, m, n, k, alpha, a, a_type, lda) = given[:9]
        (b, b_type, ldb, beta, c, c_type, ldc, compute, algorithm) = given[9:]
        assert (handle, c_type, algorithm) == (77, 0, -1)
        assert (transa, transb) in {(0, 0), (0, 1), (1, 0), (1, 1)}
        self.computed.append(compute)
        left = by_columns(a, a_type, (k, m) if transa else (m, k), lda)
        right = by_columns(b, b_type, (n, k) if transb else (k, n), ldb)
        out = by_columns(c, c_type, (m, n), ldc)
        left, right = (left.T if transa else left), (right.T if transb else right)
        product = left.astype(np.float64) @ right.astype(np.float64)
        factors = [by_columns(each, 0, (1, 1), 1)[0, 0] for each in (alpha, beta)]
        assert factors[1] == 0
        out[...] = factors[0] * product


def by_columns(
    address: int, kind: int, shape: tuple[int, int], leading: int
) -> NDArray[Any]:
    """The matrix at an address, whose columns are `leading` items apart."""
    import ctypes

    assert leading >= shape[0]
    dtype = np.dtype(DTYPES[kind])
    n_items = leading * (shape[1] - 1) + shape[0]
    memory = (ctypes.c_char * (n_items * dtype.itemsize)).from_address(address)
    items: Any = np.frombuffer(memory, dtype)  # type: ignore[call-overload]
    return as_strided(items, shape, (dtype.itemsize, leading * dtype.itemsize))


@pytest.mark.parametrize("products", [p for p in Products if p.precision is None])
@pytest.mark.parametrize("n", [1, 3])
def test_what_cublas_is_asked(products: Products, n: int) -> None:
    """y = factor * x w^T into a part of a larger array, and nothing beside it."""
    module = FakeCublas()
    cublas = Cublas(module, strict(np.array([0, 1], np.float32)))
    x, w = (RNG.standard_normal((rows, 5)).astype(products.dtype) for rows in (n, 4))
    factor = strict(np.array([0.5], np.float32))
    for given, value in ((None, 1), (factor, 0.5)):
        memory = np.full((n, 9), 7, np.float32)
        out = StrictArray(memory)[:, 2:6]
        cublas.multiply(strict(x), strict(w), out, products, given)
        expected = value * (x.astype(np.float64) @ w.T.astype(np.float64))
        assert np.array_equal(memory[:, 2:6], expected.astype(np.float32))
        assert (memory[:, :2] == 7).all()
        assert (memory[:, 6:] == 7).all()
    assert module.modes == [(77, 1)]
    assert cublas.version == "13.1.4"
    assert set(module.computed) == {{"f32": 69, "tf32": 77, "f16": 68}[products.value]}


def test_products_without_rows() -> None:
    """cuBLAS is not asked: it refuses such sizes."""
    module = FakeCublas()
    cublas = Cublas(module, strict(np.array([0, 1], np.float32)))
    none, some = (strict(np.ones((rows, 5), np.float32)) for rows in (0, 2))
    cublas.multiply(none, some, strict(np.ones((0, 2), np.float32)), Products.F32)
    cublas.multiply(some, none, strict(np.ones((2, 0), np.float32)), Products.F32)
    assert module.computed == []


@pytest.mark.parametrize("largest", [0, 1e-30, 3e-9, 1, 70000, 3e38])
@pytest.mark.parametrize("kept", [False, True])
def test_numbers_as_halves(largest: float, kept: bool) -> None:
    """No number is too large, and the largest ones have all digits of f16."""
    x = np.linspace(-largest, largest, 64, dtype=np.float32).reshape(4, 16)
    half, factor = (each.memory for each in halved(strict(x), StrictCard(), kept=kept))
    assert half.dtype == np.float16
    assert np.isfinite(half).all()
    assert np.frexp(factor)[0] == 0.5
    back = half.astype(np.float64) * factor
    assert np.allclose(back, x, rtol=2**-11, atol=largest * 2.0**-26)
    assert (factor == 1).all() or not kept or not 2**-12 <= largest < 65504
    is_held = not largest or 2**-12 <= largest < 65504
    assert bool(are_plain(strict(x)).memory) == is_held


def matrix_of(
    type: QuantType, products: Products, scale: float = 1
) -> tuple[DeviceMatrix, TypedMatrix]:
    """A matrix of 24 rows on a device, and on the host."""
    rows = (scale * RNG.standard_normal((24, 256))).astype(np.float32)
    data = quantize_rows(rows, type, None)
    card = StrictCard()
    there = DeviceMatrix(card, Resident(card, strict(data)), type, 256, products)
    return there, TypedMatrix(data, type, 256)


@pytest.mark.parametrize("type", [QuantType.F32, QuantType.F16, QuantType.Q4_K])
def test_a_matrix(type: QuantType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, parts, rows and factors of rows, with inputs from both memories."""
    monkeypatch.setattr(device_matrix, "TILE_WEIGHTS", 7 * 256)
    there, here = matrix_of(type, Products.F32)
    own: Any
    exact = TypedMatrix(
        dequantize_rows(here.data, type, 256).view(np.uint8), QuantType.F32, 256
    )
    scale = RNG.standard_normal(24).astype(np.float32)
    x = RNG.standard_normal((5, 256)).astype(np.float32)
    for own, other in (
        (there, exact),
        (there.scaled(scale), exact.scaled(scale)),
        (there.scaled(scale).part(3, 20).part(1, 9), exact.scaled(scale).part(4, 12)),
    ):
        assert own.shape == other.shape
        for given in (strict(x), x):
            y: Any = own.apply(Activations(given))
            assert np.array_equal(y.memory, other.apply(x))
        index = np.array([5, 0, 5])
        for some in (index, strict(index)):
            assert np.array_equal(own.rows(some).memory, other.rows(index))
        assert np.array_equal(own.numbers(), other.numbers())
    card: Any = there.card
    assert card.products[0] == (5, 256, 7)


@pytest.mark.parametrize("scale", [1, 1e-12, 1e7])
@pytest.mark.parametrize("type", [QuantType.F32, QuantType.BF16])
def test_weights_that_f16_does_not_hold(type: QuantType, scale: float) -> None:
    """They are scaled, like activations, and the product is as exact."""
    there, here = matrix_of(type, Products.F16, scale)
    x = (1e20 * RNG.standard_normal((5, 256))).astype(np.float32)
    y: Any = there.apply(strict(x))
    exact = x.astype(np.float64) @ here.rows(np.arange(24)).T.astype(np.float64)
    assert np.abs(y.memory - exact).max() < 1e-3 * np.abs(exact).max()
    assert bool(there.found_plain().memory) == (scale == 1)


@pytest.mark.parametrize("products", [Products.I16, Products.Q8])
@pytest.mark.parametrize("type", [QuantType.Q8_0, QuantType.Q4_K, QuantType.BF16])
def test_products_of_codes(
    type: QuantType, products: Products, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's, in tiles, of moved rows, too; weights without blocks stay numbers."""
    monkeypatch.setattr(device_matrix, "TILE_WEIGHTS", 7 * 256)
    there, here = matrix_of(type, products)
    scale = RNG.standard_normal(24).astype(np.float32)
    assert products.precision is not None
    exact = replace(here, precision=products.precision).scaled(scale)
    card = StrictCard()
    moved = moved_weights({"w": replace(here, scale=scale)}, card, products)
    x = Activations(RNG.standard_normal((5, 256)).astype(np.float32))
    for own in (there.scaled(scale), moved.matrix("w")):
        for part in (own, own.part(3, 20)):
            y: Any = part.apply(x)
            expected = exact.apply(x) if part is own else exact.part(3, 20).apply(x)
            assert np.array_equal(y.memory, expected)
    assert card.products[0] == (5, 256, 7)


def test_moved_weights_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether f16 holds them or not, and in whatever order they are multiplied."""
    monkeypatch.setattr(device_matrix, "TILE_WEIGHTS", 7 * 256)
    x = strict(RNG.standard_normal((5, 256)).astype(np.float32))
    pairs = {
        f"{type.name} {scale}": matrix_of(type, Products.F16, scale)
        for type in (QuantType.Q8_0, QuantType.F16, QuantType.BF16)
        for scale in (1, 1e-9)
    }
    card = StrictCard()
    host = {name: here for name, (_, here) in pairs.items()}
    moved = moved_weights(host, card, Products.F16)
    for name in (*pairs, *pairs, *reversed(pairs), *pairs):
        resident = pairs[name][0]
        is_plain = bool(resident.found_plain().memory)
        for plain in {False, is_plain}:
            there: Any = DeviceMatrix(
                *(resident.card, resident.stored, resident.type, 256, Products.F16),
                is_plain=plain,
            ).apply(x)
            found: Any = moved.matrix(name).apply(x)
            assert np.array_equal(found.memory, there.memory)
    whole = moved.matrix("Q8_0 1")
    index = strict(np.array([3, 1]))
    there = whole.part(2, 9).rows(index)
    assert np.array_equal(there.memory, host["Q8_0 1"].rows(np.array([5, 3])))


def test_rows_are_on_their_way_before_they_are_asked_for() -> None:
    """From the second time on; others are moved when they are asked for."""
    card = StrictCard()
    mover = Mover(card)
    all_rows = [Rows(i, np.full((i + 1, 4), i, np.uint8)) for i in range(4)]
    order = [0, 1, 2, 0, 1, 2, 3, 1, 2, 2, 0]
    ahead: list[int] = []
    for number in order:
        with mover.moved(all_rows[number]) as there:
            assert np.array_equal(there.memory, all_rows[number].data)
            if mover._ahead is not None:
                mover._ahead.future.result()
                ahead.append(int(str(mover._ahead.rows.key)))
    assert ahead == [1, 2, 0, 2, 3, 2, 1]


def test_rows_that_cannot_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes where they are asked for, and others can be moved after it."""
    mover = Mover(StrictCard())
    small, large = (Rows(n, np.full((n, 4), n, np.uint8)) for n in (1, 50))
    for rows in (small, large, small):
        with mover.moved(rows):
            pass
    new = StrictCard.empty

    def empty(card: StrictCard, shape: tuple[int, ...], dtype: Any) -> Any:
        if shape[0] > 4:
            raise DeviceMemoryError("no memory")
        return new(card, shape, dtype)

    monkeypatch.setattr(StrictCard, "empty", empty)
    mover = Mover(StrictCard())
    for _ in range(3):
        with pytest.raises(DeviceMemoryError), mover.moved(large):
            pass
        for _ in range(2):
            with mover.moved(small) as there:
                assert np.array_equal(there.memory, small.data)
