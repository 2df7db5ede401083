"""Quantizers and dequantizers on CUDA give the processor's bytes and weights.

The host build of the library runs them, and a GPU where there is one (`-m gpu`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantkit._native import needs_importance, uses_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES, NATIVE_TYPES, bits
from .cuda_rows import Cuda
from .cuda_rows import cuda as cuda
from .cuda_rows import host_library as host_library
from .strategies import ROW_KINDS, adversarial_rows
from .test_golden import TASKS, committed_hashes, hash_of

BY_WARPS = (QuantType.IQ1_S, QuantType.IQ1_M, QuantType.IQ2_XXS, QuantType.IQ2_XS)
"""Each op of their 32 lanes switches between 32 threads, which takes long on a host."""

X = adversarial_rows(len(ROW_KINDS), 256, seed=7)
IMPORTANCE = np.geomspace(0.01, 10, 256).astype(np.float32)
"""Large ones make sums infinite, and scales NaN."""
IMPORTANCES = (None, IMPORTANCE, IMPORTANCE * np.float32(1e30))


def marks(type: QuantType, task: str) -> list[pytest.MarkDecorator]:
    is_slow = type in BY_WARPS and task != "dequantize"
    return [pytest.mark.slow, pytest.mark.exhaustive] if is_slow else []


@pytest.mark.parametrize(
    ("type", "task"),
    [pytest.param(*task, marks=marks(*task)) for task in TASKS],
    ids=lambda v: getattr(v, "name", v),
)
def test_hash_is_the_committed_one(cuda: Cuda, type: QuantType, task: str) -> None:
    """Of tests/golden."""
    quantize = quantize_rows if task == "dequantize" else cuda.quantize
    found = hash_of(type, task, quantize, cuda.dequantize)
    assert found == committed_hashes()[type.name, task]


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_adversarial_rows(cuda: Cuda, type: QuantType) -> None:
    """Each kind of row, with every importance."""
    for importance in IMPORTANCES:
        if importance is None and needs_importance(type):
            continue
        x = X if type in BLOCK_TYPES else X[:-1]  # too large for F16
        expected = quantize_rows(x, type, importance)
        wrong = (cuda.quantize(x, type, importance) != expected).any(axis=1)
        assert [list(ROW_KINDS)[i] for i in np.flatnonzero(wrong)] == []
        weights = cuda.dequantize(expected, type, 256)
        assert (bits(weights) == bits(dequantize_rows(expected, type, 256))).all()


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_any_bytes_are_dequantized(cuda: Cuda, type: QuantType) -> None:
    """Also those that no quantizer writes; to F16 and BF16 as from F32."""
    rng = np.random.default_rng(5)
    data = rng.integers(0, 256, (9, type.row_bytes(1024)), np.uint8)
    expected = dequantize_rows(data, type, 1024)
    assert (bits(cuda.dequantize(data, type, 1024)) == bits(expected)).all()
    number = ~np.isnan(expected)
    for out_type in (QuantType.F16, QuantType.BF16):
        found = cuda.dequantize(data, type, 1024, out_type)
        weights = dequantize_rows(found.view(np.uint8), out_type, 1024)
        assert (np.isnan(weights) == ~number).all()
        with np.errstate(over="ignore"):
            half = expected.astype(np.float16)
        want = half.view(np.uint16) if out_type is QuantType.F16 else bf16(expected)
        assert (found == want)[number].all()


def bf16(x: np.ndarray) -> np.ndarray:
    """The upper half of each number, rounded half to even."""
    wide = x.view(np.uint32).astype(np.uint64)
    return ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16).astype(np.uint16)


@pytest.mark.parametrize("type", BLOCK_TYPES, ids=lambda t: t.name)
def test_any_number_of_blocks(cuda: Cuda, type: QuantType) -> None:
    """Less than a warp takes, and a few more than one; output of any alignment."""
    size = type.block_size
    importance = None if type not in USES_IMPORTANCE else IMPORTANCE[:size]
    for n_rows, offset in ((1, 1), (35, 0)):
        x = np.resize(X, (n_rows, size))
        out, bad = cuda.quantize_any(x, type, importance, offset)
        assert bad == [-1, -1]
        assert (out == quantize_rows(x, type, importance)).all()
    empty = np.zeros((0, size), np.float32)
    assert cuda.quantize(empty, type, importance).size == 0


USES_IMPORTANCE = [t for t in BLOCK_TYPES if uses_importance(t)]


@pytest.mark.parametrize("name", ["F16", "Q4_0", "Q4_1", "Q4_K", "IQ3_S", "IQ1_S"])
def test_the_first_weight_that_is_not_finite(cuda: Cuda, name: str) -> None:
    """Is told by its index, whatever lies beside it."""
    type = QuantType[name]
    x = np.resize(X[0], (35, 256))
    for value, *places in (
        (np.nan, (34, 255)),
        (np.inf, (3, 17), (3, 18), (34, 0)),
        (-np.inf, (0, 0), (33, 0)),
    ):
        wrong = x.copy()
        for place in places:
            wrong[place] = value
        _, bad = cuda.quantize_any(wrong, type, IMPORTANCE)
        row, column = places[0]
        assert bad == [256 * row + column, -1]


def test_the_first_importance_that_is_wrong(cuda: Cuda) -> None:
    """Also where the type makes no use of it; a zero of either sign is right."""
    for type in (QuantType.Q4_0, QuantType.Q8_0):
        importance = IMPORTANCE.copy()
        importance[:100] = -0.0
        assert cuda.quantize_any(X[:1], type, importance)[1] == [-1, -1]
        for value in (np.nan, np.inf, -1e-45):
            importance[[100, 255]] = value
            assert cuda.quantize_any(X[:1], type, importance)[1] == [-1, 100]


def test_calls_that_are_refused(cuda: Cuda) -> None:
    """Before anything is touched."""
    most = 2**64 - 256
    places = {"x": 1, "out": 2, "bad": 3, "scratch": 4, "importance": 0, "data": 1}
    usual = {name: place << 20 for name, place in places.items()}

    def at(place: int, of: str = "char") -> Any:
        return cuda.ffi.cast(f"{of} *", place)

    def quantize(type: int = 12, rows: int = 2, cols: int = 256, **given: int) -> str:
        g = {**usual, "scratch_bytes": 0, **given}
        status = cuda.lib.qkc_quantize(
            *(type, at(g["x"], "float"), at(g["importance"], "float"), rows, cols),
            *(at(g["out"], "uint8_t"), at(g["bad"], "int64_t")),
            *(at(g["scratch"]), g["scratch_bytes"], at(0)),
        )
        return cuda.name_of(status)

    def dequantize(type: int = 12, rows: int = 2, cols: int = 256, **given: int) -> str:
        g = {**usual, "out_type": 0, **given}
        status = cuda.lib.qkc_dequantize(
            *(type, at(g["data"], "uint8_t"), rows, cols),
            *(g["out_type"], at(g["out"]), at(0)),
        )
        return cuda.name_of(status)

    for call in (quantize, dequantize):
        assert call(type=99) == "QKC_UNKNOWN_TYPE"
        assert call(cols=255) == "QKC_BAD_SHAPE"
        assert call(rows=most, cols=256) == "QKC_BAD_SHAPE"
        assert call(rows=1, cols=most) == "QKC_BAD_SHAPE"
        assert call(out=0) == "QKC_BAD_ARRAY"
        assert call(out=usual["x"] + 5) == "QKC_BAD_ARRAY"
    assert quantize(x=0) == "QKC_BAD_ARRAY"
    assert quantize(x=usual["x"] + 2) == "QKC_BAD_ARRAY"
    assert quantize(bad=usual["bad"] + 4) == "QKC_BAD_ARRAY"
    assert quantize(bad=usual["out"]) == "QKC_BAD_ARRAY"
    assert quantize(type=16) == "QKC_NEEDS_IMPORTANCE"
    weighted = {"type": 2, "importance": 5 << 20}
    assert quantize(**weighted, scratch_bytes=7) == "QKC_SMALL_SCRATCH"
    assert quantize(**weighted, scratch=0) == "QKC_BAD_ARRAY"
    assert dequantize(data=0) == "QKC_BAD_ARRAY"
    assert dequantize(out_type=8) == "QKC_UNKNOWN_TYPE"
    assert dequantize(out=usual["out"] + 2) == "QKC_BAD_ARRAY"
    size = cuda.ffi.new("size_t *")
    status = cuda.lib.qkc_quantize_scratch(2, 1, most, 32, size)
    assert cuda.name_of(status) == "QKC_BAD_SHAPE"


@pytest.mark.parametrize("order", ["reversed", "1"])
def test_threads_come_in_any_order(
    host_library: object, cuda: Cuda, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """No lane reads what another has yet to write."""
    monkeypatch.setenv("QKC_HOST_ORDER", order)
    for type in (QuantType.Q5_1, QuantType.Q4_K, QuantType.IQ1_M, QuantType.IQ2_XS):
        expected = quantize_rows(X[:3], type, IMPORTANCE)
        assert (cuda.quantize(X[:3], type, IMPORTANCE) == expected).all()
