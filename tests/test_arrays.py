"""Arrays in, quantized tensors out: dtypes, shapes, errors and backends."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import DTypeLike

import quantkit as qk
from quantkit._core import ffi, lib
from quantkit._native import ENVIRONMENT_VARIABLE, Backend, active_backend
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES, NATIVE_TYPES, needed_importance
from .strategies import ROW_KINDS, adversarial_rows


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_layouts_agree_with_the_core(type: QuantType) -> None:
    """The table in types.py and the C core's state the same block sizes."""
    size = ffi.new("size_t[2]")
    assert lib.qk_type_layout(type.id, size, size + 1) == lib.QK_OK
    assert (size[0], size[1]) == (type.block_size, type.block_bytes)


def test_shape_and_type_are_kept() -> None:
    """A tensor of three axes quantizes row by row and comes back in its shape."""
    q = qk.quantize(weights(2, 3, 512), "q4_k")
    assert (q.type, q.shape, q.data.shape) == (QuantType.Q4_K, (2, 3, 512), (6, 288))
    assert qk.dequantize(q).shape == (2, 3, 512)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
def test_other_dtypes_go_through_f32(dtype: DTypeLike) -> None:
    """Real dtypes are taken as their f32 values."""
    x = weights(4, 64).astype(dtype)
    expected = qk.quantize(x.astype(np.float32), "Q8_0")
    assert (qk.quantize(x, "Q8_0").data == expected.data).all()


def test_bf16_arrays_are_taken() -> None:
    """An ml_dtypes bfloat16 array quantizes as its f32 values."""
    x = weights(4, 256).astype(ml_dtypes.bfloat16)
    expected = qk.quantize(x.astype(np.float32), "Q4_K")
    assert (qk.quantize(x, "Q4_K").data == expected.data).all()


def test_bf16_is_rounded_as_ml_dtypes_rounds() -> None:
    """The same bytes of every kind of row, and the same weights back."""
    x = adversarial_rows(2 * len(ROW_KINDS), 256, seed=3)
    with np.errstate(over="ignore"):
        expected = x.astype(ml_dtypes.bfloat16)
    q = qk.quantize(x, "BF16")
    assert q.data.tobytes() == expected.tobytes()
    assert qk.dequantize(q).tobytes() == expected.astype(np.float32).tobytes()


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_weight_is_named(type: QuantType, value: float) -> None:
    """NaN and infinities are refused with their row and column."""
    x = weights(40, 512)
    x[37, 300] = value
    with pytest.raises(ValueError, match="row 37, column 300"):
        qk.quantize(x, type, needed_importance(type, 512))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_bad_importance_is_named(value: float) -> None:
    """Importance must be finite and not negative."""
    importance = np.ones(256, np.float32)
    importance[17] = value
    with pytest.raises(qk.NonFiniteError, match="column 17"):
        qk.quantize(weights(2, 256), "Q4_K", importance)


def test_a_refused_call_leaves_the_output_alone() -> None:
    """On an error status no byte of the output changes."""
    x = weights(2, 256)
    x[1, 255] = np.nan
    out = np.full((2, 144), 0xAB, np.uint8)
    with pytest.raises(qk.NonFiniteError):
        qk._native.quantize_rows(x, QuantType.Q4_K, None, out, active_backend())
    assert (out == 0xAB).all()


@pytest.mark.parametrize(
    ("x", "type", "importance", "words"),
    [
        (np.ones((2, 100)), "Q4_0", None, "multiple of Q4_0's block of 32"),
        (np.ones((2, 128)), "Q4_K", None, "multiple of Q4_K's block of 256"),
        (
            np.ones((2, 256), np.float32),
            "Q4_K",
            np.ones(128),
            "each of the 256 columns",
        ),
        (np.float32(1), "Q4_K", None, "single number"),
        (np.ones((2, 256), np.complex64), "Q4_K", None, "complex64"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    x: np.ndarray, type: str, importance: np.ndarray | None, words: str
) -> None:
    """The message says what was found and what was expected."""
    with pytest.raises(qk.ShapeError, match=words):
        qk.quantize(x, type, importance)


def test_wrong_names_suggest_the_nearest() -> None:
    """A typo in a type name is answered with the name that was meant."""
    with pytest.raises(qk.UnsupportedTypeError, match="did you mean Q4_K"):
        qk.quantize(weights(1, 256), "Q4K")
    with pytest.raises(qk.UnsupportedTypeError, match="cannot quantize to I32"):
        qk.quantize(weights(1, 256), "I32")


def test_dequantize_checks_the_data() -> None:
    """Rows of the wrong length are refused."""
    with pytest.raises(qk.ShapeError, match=r"uint8 \[rows, 144\]"):
        dequantize_rows(np.zeros((1, 143), np.uint8), QuantType.Q4_K, 256)


def test_empty_arrays_pass(block_type: QuantType) -> None:
    """No rows give no bytes."""
    none = quantize_rows(
        weights(0, 256), block_type, needed_importance(block_type, 256)
    )
    assert none.shape[0] == 0
    no_columns = needed_importance(block_type, 0)
    assert qk.quantize(weights(3, 0), block_type, no_columns).data.shape == (3, 0)


def test_backend_is_forced_by_the_environment(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QUANTKIT_BACKEND names the backend that runs."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)
    assert active_backend() == backend


def test_an_unknown_backend_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced backend that does not exist fails instead of falling back."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mmx")
    with pytest.raises(qk.BackendError, match=r"built in: .*scalar"):
        qk.quantize(weights(1, 256), "Q4_K")


TERNARY = {QuantType.TQ1_0, QuantType.TQ2_0, QuantType.Q2_0}


@pytest.mark.parametrize("type", BLOCK_TYPES, ids=lambda t: t.name)
def test_more_bits_never_fit_worse(type: QuantType) -> None:
    """Normal weights: 0.9 bits more give a lower error, whatever the kinds of type.

    Below that kinds differ: MXFP4 has scales that are powers of two, and codebooks get
    more from the same bits.  Ternary types are for weights that are ternary: their
    scale is the largest weight, and they may do worse than a smaller type.
    """
    x = weights(64, 1024)

    def rmse(kind: QuantType) -> float:
        quantized = qk.quantize(x, kind, needed_importance(kind, 1024))
        return float(np.sqrt(np.mean((qk.dequantize(quantized) - x) ** 2)))

    least = type.bits_per_weight + 0.9
    larger = {t for t in BLOCK_TYPES if t.bits_per_weight >= least} - TERNARY
    assert all(rmse(t) < rmse(type) for t in larger)
