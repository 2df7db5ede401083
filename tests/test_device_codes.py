"""Products of integers on a device: the bits of the processor's.

The host build runs the kernels of the CUDA library in main memory, and emulates tensor
cores; with `-m gpu` they run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import _device, _native
from quantkit._device import Codes
from quantkit._native import Backend, Precision, packing_for
from quantkit.arrays.rows import quantize_rows
from quantkit.errors import QuantkitError, ShapeError, UnsupportedTypeError
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES
from .device_arrays import Kind
from .host_library import host_library as host_library
from .test_device_operations import assert_same, fused, kind, normal, order

__all__ = ["kind", "order"]

F32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]
CODES = (Precision.I16, Precision.Q8)
IN_HALVES = (QuantType.Q5_1, QuantType.Q5_K)
"""Types of which some processors scale the sums of 16 columns, and others of 32."""


def sums_alike(backend: Backend, type: QuantType, precision: Precision) -> bool:
    """Whether a backend scales the same integer sums as devices do."""
    in_halves = backend.ops in ("avx2_fma", "avx512") and precision is Precision.Q8
    return not in_halves or type not in IN_HALVES


def product_there(
    kind: Kind, x: F32, data: Bytes, type: QuantType, precision: Precision
) -> F32:
    """X times the transpose of the weights on the device, amid other numbers."""
    y = kind.there(np.full((len(x), len(data) + 3), 7, np.float32))
    packed = _device.pack_activations(kind.there(x), packing_for(type, precision))
    _device.matmul(packed, kind.there(data), type, y[:, 1:-2])
    made = kind.here(y)
    assert (made[:, 0] == 7).all()
    assert (made[:, -2:] == 7).all()
    return made[:, 1:-2]


def product_here(
    x: F32, data: Bytes, type: QuantType, precision: Precision, backend: Backend
) -> F32:
    y = np.empty((len(x), len(data)), np.float32)
    packed = _native.pack_activations(x, packing_for(type, precision), backend)
    _native.matmul(packed, data, type, y)
    return y


def some_bytes(type: QuantType, n: int, blocks: int) -> Bytes:
    """Rows of any bytes: all codes that there are, and scales that are not finite."""
    rng = np.random.default_rng(type.id)
    shape = n, blocks * type.block_bytes
    return rng.integers(0, 256, shape, dtype=np.uint8)


def some_weights(type: QuantType, n: int, k: int) -> Bytes:
    return quantize_rows(normal(n, k, seed=1), type, np.ones(k, np.float32))


def extreme(x: F32) -> F32:
    """Rows with groups that are 0, tiny, huge, tied, or not finite."""
    x[0, :256] = 0
    x[1, :256] = np.float32(1e-41) * np.sign(x[1, :256])
    x[2, :256] *= np.float32(7e37)
    x[3, :256] = np.where(np.arange(256) % 3, -1.5, 1.5)
    x[4, 40], x[5, 70], x[6, 200] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize("precision", CODES, ids=lambda p: p.name)
@pytest.mark.parametrize("type", BLOCK_TYPES, ids=lambda t: t.name)
def test_products_are_those_of_the_core(
    kind: Kind, order: None, type: QuantType, precision: Precision
) -> None:
    """Several tiles and a part of one, more columns than are summed by themselves."""
    backend = fused()
    if not sums_alike(backend, type, precision):
        pytest.skip(f"{backend.ops} scales the sums of 16 columns")
    for m, n, k in ((1, 1, 256), (41, 70, 256), (7, 9, 2304)):
        given = extreme(normal(max(m, 7), k))[-m:], some_weights(type, n, k)
        got = product_there(kind, *given, type, precision)
        assert_same(got, product_here(*given, type, precision, backend))
    given = normal(9, 512), some_bytes(type, 20, 512 // type.block_size)
    got = product_there(kind, *given, type, precision)
    assert_same(got, product_here(*given, type, precision, backend))


def test_rows_do_not_depend_on_each_other(kind: Kind) -> None:
    """A row of activations, and of weights, alone or among others."""
    x, data = normal(40, 512), some_weights(QuantType.Q4_K, 70, 512)
    how = QuantType.Q4_K, Precision.Q8
    whole = product_there(kind, x, data, *how)
    assert_same(product_there(kind, x[37:38], data, *how), whole[37:38])
    assert_same(product_there(kind, x, data[64:65], *how), whole[:, 64:65])


@pytest.mark.parametrize(
    ("type", "narrower", "planes"),
    [(QuantType.Q5_1, QuantType.Q4_1, 4), (QuantType.Q5_K, QuantType.Q4_K, 16)],
    ids=["Q5_1", "Q5_K"],
)
def test_types_with_a_fifth_bit(
    kind: Kind, type: QuantType, narrower: QuantType, planes: int
) -> None:
    """Without that bit they are types with four, and the products are theirs."""
    x, data = normal(5, 512), some_weights(narrower, 9, 512)
    blocks = data.reshape(-1, narrower.block_bytes)
    zeros = np.zeros((len(blocks), type.block_bytes - narrower.block_bytes), np.uint8)
    wide = np.hstack([blocks[:, :planes], zeros, blocks[:, planes:]]).reshape(9, -1)
    got = product_there(kind, x, wide, type, Precision.Q8)
    assert_same(got, product_there(kind, x, data, narrower, Precision.Q8))


def packed_there(
    kind: Kind, m: int, k: int, packing: int = packing_for(QuantType.Q8_0, CODES[1])
) -> Codes:
    return _device.pack_activations(kind.there(normal(m, k)), packing)


def multiplied(
    kind: Kind, packed: Codes, data: Bytes, type: QuantType, n: int = 3
) -> None:
    out = kind.there(np.empty((packed.shape[0], n), np.float32))
    _device.matmul(packed, kind.there(data), type, out)


Q8_0, Q4_K, F16 = QuantType.Q8_0, QuantType.Q4_K, QuantType.F16
REFUSED: dict[str, tuple[type[Exception], Callable[[Kind], Any]]] = {
    r"refused the sizes of activations \[2, 33\]": (
        ShapeError,
        lambda kind: packed_there(kind, 2, 33),
    ),
    r"refused activations \[2, 64\]: QKC_UNKNOWN_PACKING": (
        QuantkitError,
        lambda kind: packed_there(kind, 2, 64, packing_for(F16, CODES[1])),
    ),
    "refused Q4_K rows of 256 weights: QKC_UNKNOWN_PACKING": (
        QuantkitError,
        lambda kind: multiplied(
            kind, packed_there(kind, 2, 256), some_weights(Q4_K, 3, 256), Q4_K
        ),
    ),
    "cannot convert F16": (
        UnsupportedTypeError,
        lambda kind: multiplied(
            kind, packed_there(kind, 2, 32), np.empty((3, 64), np.uint8), F16
        ),
    ),
    r"weights of a device call is uint8 \[3, 34\]; expected uint8 \[3, 68\]": (
        ShapeError,
        lambda kind: multiplied(
            kind, packed_there(kind, 2, 64), some_weights(Q8_0, 3, 32), Q8_0
        ),
    ),
    r"out of a device call is float32 \[2, 4\]; expected float32 \[2, 3\]": (
        ShapeError,
        lambda kind: multiplied(
            kind, packed_there(kind, 2, 32), some_weights(Q8_0, 3, 32), Q8_0, n=4
        ),
    ),
}


@pytest.mark.parametrize("message", list(REFUSED))
def test_what_does_not_fit_is_refused(kind: Kind, message: str) -> None:
    """The message says what was found, and what was expected."""
    error, run = REFUSED[message]
    with pytest.raises(error, match=message):
        run(kind)


def test_nothing_gives_nothing(kind: Kind) -> None:
    """No rows of either; of no columns the products are 0."""
    how = Q8_0, Precision.Q8
    for m, n, k in ((0, 3, 32), (3, 0, 32), (3, 2, 0)):
        got = product_there(kind, normal(m, k), some_weights(Q8_0, n, k), *how)
        assert_same(got, np.zeros((m, n), np.float32))
