"""The NumPy references equal llama.cpp's bytes, and the native code equals them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from quantkit.arrays import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from . import reference
from .strategies import ROW_KINDS, adversarial_rows, importances, row, rows

F32 = NDArray[np.float32]

VECTORS = Path(__file__).parent / "fixtures" / "ggml_x86.npz"
BLOCK_TYPES = [name for name in reference.TYPES if name not in ("F16", "BF16")]


@pytest.fixture(scope="module")
def vectors() -> dict[str, NDArray[np.generic]]:
    """Weights, importance, and the bytes that ggml's x86-64 build made of them."""
    with np.load(VECTORS) as file:
        return dict(file)


def importance_of(n_cols: int) -> F32:
    """An importance that spans two orders of magnitude."""
    x: F32 = np.geomspace(10, 0.1, n_cols, dtype=np.float32)
    return x


@pytest.mark.parametrize("suffix", ["", "_imatrix"])
@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_reference_equals_ggml(
    vectors: dict[str, NDArray[np.generic]], name: str, suffix: str
) -> None:
    """Every row, the odd ones too, with and without importance."""
    importance = vectors["importance"].astype(np.float32) if suffix else None
    x = vectors["x"].astype(np.float32)
    found = reference.quantize(x, name, importance)
    np.testing.assert_array_equal(found, vectors[name + suffix])


@pytest.mark.interop
@pytest.mark.parametrize("name", reference.TYPES)
def test_reference_dequantizes_as_the_gguf_package(name: str) -> None:
    """Bit for bit."""
    gguf = pytest.importorskip("gguf")
    data = reference.quantize(adversarial_rows(len(ROW_KINDS), 256), name)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name])
    found = reference.dequantize(data, name)
    np.testing.assert_array_equal(
        found.view(np.uint32), np.asarray(expected, np.float32).view(np.uint32)
    )


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "importance"])
@pytest.mark.parametrize("name", reference.TYPES)
@pytest.mark.parametrize("kind", ROW_KINDS)
def test_native_equals_reference(kind: str, name: str, weighted: bool) -> None:
    """The scalar backend makes the reference's bytes of every kind of row."""
    x = np.stack([row(kind, 512, seed) for seed in range(4)])
    importance = importance_of(512) if weighted else None
    type = QuantType.parse(name)
    found = quantize_rows(x, type, importance, backend="scalar")
    np.testing.assert_array_equal(found, reference.quantize(x, name, importance))


@pytest.mark.parametrize("name", reference.TYPES)
def test_native_dequantizes_as_reference(name: str) -> None:
    """Any bytes, not only those that a quantizer writes."""
    type = QuantType.parse(name)
    rng = np.random.default_rng(7)
    data = rng.integers(0, 256, (64, type.row_bytes(512))).astype(np.uint8)
    found = dequantize_rows(data, type, 512, backend="scalar")
    expected = reference.dequantize(data, name)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", BLOCK_TYPES)
@given(x=rows(), importance=importances())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_native_equals_reference_on_patchwork(
    name: str, x: F32, importance: F32 | None
) -> None:
    """Rows patched together from all kinds, with weights that hypothesis chooses."""
    found = quantize_rows(x, QuantType.parse(name), importance, backend="scalar")
    np.testing.assert_array_equal(found, reference.quantize(x, name, importance))
