"""Every backend gives llama.cpp's bytes: the shared vectors, and libgguf run live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings

from quantkit._native import Backend, backends
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES, NATIVE_TYPES, bits, needed_importance, vectors
from .libgguf_rows import ggml_rows
from .strategies import ROW_KINDS, adversarial_rows, importances, rows

USABLE = [b.name for b in backends() if b.usable]
IMPORTANCE = np.geomspace(0.01, 10, 512).astype(np.float32)


VECTORS = vectors()

# libgguf's search for IQ1_M is an older one, and it lacks Q2_0; the vectors have
# llama.cpp's bytes.
LIVE_TYPES = [t for t in BLOCK_TYPES if t not in (QuantType.IQ1_M, QuantType.Q2_0)]


def in_time(types: Sequence[QuantType]) -> list[Any]:
    """The types as parameters; those that take ggml long to prepare are slow tests."""
    slow = QuantType.IQ1_S, QuantType.IQ2_S
    return [
        pytest.param(t, id=t.name, marks=pytest.mark.slow if t in slow else ())
        for t in types
    ]


def within_range(x: np.ndarray, type: QuantType) -> np.ndarray:
    """Where all errors overflow, ggml's codebook types stop the process."""
    bounded = type.name.startswith(("IQ1", "IQ2", "IQ3"))
    return np.clip(x, -1e8, 1e8) if bounded else x


def dequantized(data: np.ndarray, type: QuantType) -> np.ndarray:
    """The weights that the gguf package gives."""
    try:
        kind = gguf.GGMLQuantizationType[type.name]
        with np.errstate(all="ignore"):
            return np.asarray(gguf.quants.dequantize(data, kind), np.float32)
    except (KeyError, NotImplementedError):
        pytest.skip(f"the gguf package cannot dequantize {type.name}")


def test_vectors_of_three_builds_of_llamacpp(
    backend: Backend, block_type: QuantType, weighted: bool
) -> None:
    """The committed vectors, adversarial rows included."""
    vector = VECTORS[block_type.name + ("_imatrix" if weighted else "")]
    found = quantize_rows(vector.x, block_type, vector.importance, backend=backend.name)
    assert (found == vector.data).all()


@pytest.mark.parametrize("block_type", in_time(BLOCK_TYPES), indirect=True)
def test_adversarial_rows_equal_ggml(
    backend: Backend, block_type: QuantType, weighted: bool
) -> None:
    """Every named kind of row, over several superblocks."""
    if block_type not in LIVE_TYPES:
        pytest.skip("libgguf has an older search for this type, or none")
    is_slow = block_type.name.startswith(("IQ1", "IQ2"))  # in ggml
    n_rows = len(ROW_KINDS) * (1 if is_slow else 2)
    x = within_range(adversarial_rows(n_rows, 512, seed=7), block_type)
    importance = IMPORTANCE if weighted else None
    found = quantize_rows(x, block_type, importance, backend=backend.name)
    wrong = (found != ggml_rows(x, block_type.name, importance)).any(axis=1)
    assert [list(ROW_KINDS)[i % len(ROW_KINDS)] for i in np.flatnonzero(wrong)] == []


def test_overflowing_sums_equal_ggml(backend: Backend, block_type: QuantType) -> None:
    """Large importances make sums infinite, and scales NaN."""
    if block_type.name.startswith(("IQ1", "IQ2", "IQ3")):
        pytest.skip("ggml stops the process where it finds no point of the codebook")
    if block_type not in LIVE_TYPES:
        pytest.skip("libgguf lacks this type")
    x = adversarial_rows(len(ROW_KINDS), 512, seed=7)
    importance = IMPORTANCE * np.float32(1e30)
    found = quantize_rows(x, block_type, importance, backend=backend.name)
    wrong = (found != ggml_rows(x, block_type.name, importance)).any(axis=1)
    assert [list(ROW_KINDS)[i] for i in np.flatnonzero(wrong)] == []


def test_rows_where_ggml_stops_are_the_same_everywhere(
    backend: Backend, block_type: QuantType
) -> None:
    """Where no error is a finite number, an entry is chosen nevertheless."""
    x = adversarial_rows(len(ROW_KINDS), 512, seed=7)
    importance = IMPORTANCE * np.float32(1e30)
    found = quantize_rows(x, block_type, importance, backend=backend.name)
    expected = quantize_rows(x, block_type, importance, backend="scalar")
    assert (found == expected).all()


@pytest.mark.parametrize("type", in_time(LIVE_TYPES))
@settings(max_examples=60)
@given(x=rows(), importance=importances())
def test_patched_rows_equal_ggml(
    type: QuantType, x: np.ndarray, importance: np.ndarray | None
) -> None:
    """Rows that hypothesis puts together, on every backend."""
    x = within_range(x, type)
    if importance is None:
        importance = needed_importance(type, x.shape[1])
    else:
        importance = within_range(importance, type)
    expected = ggml_rows(x, type.name, importance)
    for name in USABLE:
        assert (quantize_rows(x, type, importance, backend=name) == expected).all()


def test_mxfp4_scales_near_powers_of_two(backend: Backend) -> None:
    """Just below 2^k the logarithm rounds to k: up to 44 units in the last place."""
    steps = np.arange(-48, 5)
    powers = np.concatenate([1 << np.arange(6, 23), np.arange(1, 255) << 23])
    largest = (powers[:, None] + steps).astype(np.int32).reshape(-1, 1)
    x = np.zeros((len(largest), 32), np.float32)
    x[:, :1] = largest.view(np.float32)
    found = quantize_rows(x, QuantType.MXFP4, backend=backend.name)
    assert (found == ggml_rows(x, "MXFP4", None)).all()


def test_nvfp4_scales_of_every_size(backend: Backend) -> None:
    """Around each scale and each halfway point, and far beyond the largest."""
    near = np.arange(-2, 3)
    steps = (np.arange(100 << 4, 140 << 4) << 19)[:, None] + near
    scales = steps.astype(np.int32).view(np.float32).ravel()
    far = np.geomspace(256, 3e37, 500, dtype=np.float32)
    x = np.random.default_rng(5).uniform(-6, 6, (len(scales) + len(far), 64))
    x[:, 0] = 6
    x = (x * np.concatenate([scales, far])[:, None]).astype(np.float32)
    found = quantize_rows(x, QuantType.NVFP4, backend=backend.name)
    assert (found == ggml_rows(x, "NVFP4", None)).all()


@pytest.mark.parametrize("n_rows", range(1, 34))
def test_tiles_of_every_size_equal_scalar(backend: Backend, n_rows: int) -> None:
    """The last tile may hold any number of blocks."""
    x = adversarial_rows(n_rows, 256, seed=n_rows)
    for type in (QuantType.Q4_0, QuantType.Q6_K):
        for importance in (None, IMPORTANCE[:256]):
            found = quantize_rows(x, type, importance, backend=backend.name)
            scalar = quantize_rows(x, type, importance, backend="scalar")
            assert (found == scalar).all()


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_dequantize_equals_the_gguf_package(backend: Backend, type: QuantType) -> None:
    """Bit for bit, on quantized rows and on random bytes."""
    rng = np.random.default_rng(11)
    data = rng.integers(0, 256, (64, type.row_bytes(512))).astype(np.uint8)
    importance = needed_importance(type, 512)
    data[:32] = quantize_rows(adversarial_rows(32, 512), type, importance)
    theirs = dequantized(data, type)
    found = dequantize_rows(data, type, 512, backend=backend.name)
    assert (bits(found) == bits(theirs)).all()


@pytest.mark.parametrize("n_cols", [1, 7, 31, 33, 100])
@pytest.mark.parametrize("type", [QuantType.F32, QuantType.F16, QuantType.BF16])
def test_plain_floats_equal_the_gguf_package(
    backend: Backend, type: QuantType, n_cols: int
) -> None:
    """F16 and BF16 round half to even, rows of any length."""
    x = adversarial_rows(len(ROW_KINDS), n_cols, seed=5)
    with np.errstate(all="ignore"):
        kind = gguf.GGMLQuantizationType[type.name]
        theirs = gguf.quants.quantize(x, kind).view(np.uint8)
    assert (quantize_rows(x, type, backend=backend.name) == theirs).all()


def test_every_f16_pattern_converts(backend: Backend) -> None:
    """All 65,536 half-precision numbers there and back."""
    data = np.arange(1 << 16, dtype=np.uint16).reshape(64, -1).view(np.uint8)
    found = dequantize_rows(data, QuantType.F16, 1024, backend=backend.name)
    expected = data.view(np.float16).astype(np.float32)
    assert (bits(found) == bits(expected)).all()
    finite = np.isfinite(expected).all(axis=1)
    back = quantize_rows(found[finite], QuantType.F16, backend=backend.name)
    assert (back == data[finite]).all()
