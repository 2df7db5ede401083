"""The NumPy references equal llama.cpp's bytes, and the native code equals them."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from quantkit._native import needs_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from . import reference
from .conftest import NATIVE_TYPES, bits, needed_importance, vectors
from .strategies import ROW_KINDS, adversarial_rows, importances, row, rows

F32 = NDArray[np.float32]

VECTORS = vectors()

NATIVE = [type.name for type in NATIVE_TYPES if type is not QuantType.F32]
# (type, with importance)
QUANTIZERS = [
    (name, weighted)
    for name in NATIVE
    for weighted in (False, True)
    if weighted or not needs_importance(QuantType.parse(name))
]


def importance_of(n_cols: int) -> F32:
    """An importance that spans two orders of magnitude."""
    x: F32 = np.geomspace(10, 0.1, n_cols, dtype=np.float32)
    return x


@pytest.mark.parametrize("key", sorted(VECTORS))
def test_reference_equals_ggml(key: str) -> None:
    """Every row, the odd ones too, with and without importance."""
    vector, name = VECTORS[key], key.removesuffix("_imatrix")
    found = reference.quantize(vector.x, name, vector.importance)
    np.testing.assert_array_equal(found, vector.data)


@pytest.mark.interop
@pytest.mark.parametrize("name", reference.TYPES)
def test_reference_dequantizes_as_the_gguf_package(name: str) -> None:
    """Bit for bit."""
    x = adversarial_rows(len(ROW_KINDS), 256)
    data = reference.quantize(x, name, importance_of(256))
    try:
        with np.errstate(all="ignore"):
            expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name])
    except (KeyError, NotImplementedError):
        pytest.skip(f"the gguf package cannot dequantize {name}")
    found = reference.dequantize(data, name)
    np.testing.assert_array_equal(bits(found), bits(np.asarray(expected, np.float32)))


def test_every_native_type_has_a_reference() -> None:
    """F32, which is copied, needs none."""
    assert set(NATIVE) <= set(reference.TYPES)


@pytest.mark.parametrize(("name", "weighted"), QUANTIZERS)
def test_native_equals_reference(name: str, weighted: bool) -> None:
    """The scalar backend makes the reference's bytes of every kind of row."""
    kinds = [kind for kind in ROW_KINDS for _ in range(4)]
    x = np.stack([row(kind, 512, seed % 4) for seed, kind in enumerate(kinds)])
    importance = importance_of(512) if weighted else None
    type = QuantType.parse(name)
    found = quantize_rows(x, type, importance, backend="scalar")
    differ = (found != reference.quantize(x, name, importance)).any(axis=1)
    assert [kind for kind, other in zip(kinds, differ, strict=True) if other] == []


@pytest.mark.parametrize("name", NATIVE)
def test_native_dequantizes_as_reference(name: str) -> None:
    """Any bytes, not only those that a quantizer writes."""
    type = QuantType.parse(name)
    rng = np.random.default_rng(7)
    data = rng.integers(0, 256, (64, type.row_bytes(512))).astype(np.uint8)
    found = dequantize_rows(data, type, 512, backend="scalar")
    expected = reference.dequantize(data, name)
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("name", NATIVE)
@given(x=rows(), importance=importances())
@settings(max_examples=40, derandomize=True, database=None)
def test_native_equals_reference_on_patchwork(
    name: str, x: F32, importance: F32 | None
) -> None:
    """Rows patched together from all kinds, with weights that hypothesis chooses."""
    type = QuantType.parse(name)
    if importance is None:
        importance = needed_importance(type, x.shape[1])
    found = quantize_rows(x, type, importance, backend="scalar")
    np.testing.assert_array_equal(found, reference.quantize(x, name, importance))
