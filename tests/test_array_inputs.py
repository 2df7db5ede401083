"""Weights as users have them: lists, every dtype, tensors; and what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantkit as qk

ROWS = np.random.default_rng(3).standard_normal((2, 64)).astype(np.float16)
"""f16, so that every format below holds them exactly."""

EXPECTED = qk.quantize(ROWS.astype(np.float32), "Q8_0")


def as_bytes(rows: np.ndarray) -> np.ndarray:
    """Read-only, as what comes from a file is."""
    return np.frombuffer(rows.tobytes(), rows.dtype).reshape(rows.shape)


def not_aligned(rows: np.ndarray) -> np.ndarray:
    """At an odd address, as in a file whose header has an odd length."""
    memory = np.frombuffer(b"\0" + rows.tobytes(), np.uint8)[1:]
    return memory.view(rows.dtype).reshape(rows.shape)


class Subclass(np.ndarray):
    """A kind of array, as units and masks are."""


class OnlyDLPack:
    """An array of a library that NumPy does not know."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize(
    "weights",
    [
        ROWS,
        ROWS.tolist(),
        tuple(map(tuple, ROWS.tolist())),
        [row.astype(np.float64) for row in ROWS],
        ROWS.astype(">f4"),
        ROWS.astype(np.longdouble),
        np.asfortranarray(ROWS),
        np.repeat(ROWS, 2, axis=1)[:, ::2],
        as_bytes(ROWS.astype(np.float32)),
        np.ascontiguousarray(ROWS[::-1, ::-1])[::-1, ::-1],
        not_aligned(ROWS.astype(np.float32)),
        ROWS.view(Subclass),
        OnlyDLPack(ROWS.copy()),
    ],
    ids=[
        *("f16", "list", "tuple", "rows", "big-endian", "long", "fortran", "strided"),
        *("read-only", "reversed", "not aligned", "subclass", "dlpack"),
    ],
)
def test_the_same_numbers_give_the_same_bytes(weights: Any) -> None:
    """Whatever holds them."""
    assert qk.quantize(weights, "Q8_0") == EXPECTED


@pytest.mark.parametrize("importance", [[0.5] * 32, np.full(32, 0.5), range(1, 33)])
def test_importance_may_be_anything_with_numbers(importance: Any) -> None:
    """Lists and f64 too."""
    expected = qk.quantize(ROWS[:, :32], "Q4_0", np.array(importance, np.float32))
    assert qk.quantize(ROWS[:, :32], "Q4_0", importance) == expected


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_ml_dtypes_arrays(name: str) -> None:
    """As their f32 values."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")
    x = (4 * ROWS).astype(getattr(ml_dtypes, name))
    assert qk.quantize(x, "Q4_0") == qk.quantize(x.astype(np.float32), "Q4_0")


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64", "int8"])
@pytest.mark.parametrize("kind", ["plain", "trained", "transposed"])
def test_torch_tensors(name: str, kind: str) -> None:
    """Any dtype; those that are trained, and views, too."""
    torch = pytest.importorskip("torch", reason="needs torch")
    x = torch.from_numpy(4 * ROWS).to(getattr(torch, name))
    expected = qk.quantize(x.to(torch.float32).numpy(), "Q8_0")
    if kind == "transposed":
        x = x.t().contiguous().t()
    elif kind == "trained" and x.is_floating_point():
        x = torch.nn.Parameter(x)
    assert qk.quantize(x, "Q8_0") == expected


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "int8"])
def test_jax_arrays(name: str) -> None:
    """As their f32 values."""
    numpy = pytest.importorskip("jax.numpy", reason="needs jax")
    x = numpy.asarray(4 * ROWS).astype(name)
    assert qk.quantize(x, "Q8_0") == qk.quantize(np.asarray(x, np.float32), "Q8_0")


@pytest.mark.parametrize("make", ["to_sparse", "to_meta", "to_complex"])
def test_torch_tensors_that_are_no_array(make: str) -> None:
    """The message is torch's."""
    torch = pytest.importorskip("torch", reason="needs torch")
    x = torch.ones(2, 32)
    other = {
        "to_sparse": x.to_sparse,
        "to_meta": lambda: x.to("meta"),
        "to_complex": lambda: x.to(torch.complex64),
    }[make]()
    with pytest.raises(qk.ShapeError, match="`weights` is"):
        qk.quantize(other, "Q4_0")


RECORDS = np.zeros(32, [("w", np.float32)])


NO_NUMBERS = [
    [[1.0, 2.0], [3.0]],
    [1.0, "two"],
    ["1", "2"],
    [None] * 32,
    RECORDS,
    np.zeros(32, "V4"),
    np.zeros(32, object),
    np.zeros(32, np.complex128),
    np.zeros(32, bool),
    np.zeros(32, "M8[s]"),
    {"w": 1.0},
    "Q4_0",
    b"\0" * 32,
    object(),
]


@pytest.mark.parametrize("values", NO_NUMBERS, ids=lambda w: type(w).__name__)
def test_what_is_no_array_of_numbers(values: Any) -> None:
    """The message names the parameter."""
    with pytest.raises(qk.ShapeError, match="`weights` is "):
        qk.quantize(values, "Q4_0")
    with pytest.raises(qk.ShapeError, match="`importance` is "):
        qk.quantize(np.ones(32), "Q4_0", values)


@pytest.mark.parametrize("type", [None, 12, 4.0, b"Q4_K", ["Q4_K"], "", "Q4_K\ud800"])
def test_what_is_no_type(type: Any) -> None:
    """Nor a name of one."""
    with pytest.raises(qk.UnsupportedTypeError, match=r"is not a type|unknown type"):
        qk.quantize(np.ones(256), type)


@pytest.mark.parametrize("recipe", [None, 15, b"Q4_K_M"])
def test_what_is_no_recipe(recipe: Any) -> None:
    """Likewise."""
    with pytest.raises(qk.UnsupportedTypeError, match="is not a recipe"):
        qk.Recipe.parse(recipe)


@pytest.mark.parametrize(
    ("value", "type", "words"),
    [
        (1e9, "Q4_0", r"row 0, columns 0 to 31, of up to 1e\+09, are too large"),
        (7e4, "F16", "row 0, column 0 is 70000.0, too large for F16; .* BF16"),
        (3.4e38, "BF16", "column 0 is .*, too large for BF16; choose F32"),
        (1e300, "F32", r"1e\+300 at index \[0, 0\], which is too large for f32"),
    ],
)
def test_weights_that_would_not_read_back(value: float, type: str, words: str) -> None:
    """On the way into f32, or into the type."""
    with pytest.raises(qk.NonFiniteError, match=words):
        qk.quantize([[value] * 32], type)


@pytest.mark.parametrize("shape", [(0, 1 << 40), (1 << 40, 0), (3, 0, 1 << 33)])
def test_arrays_without_weights(shape: tuple[int, ...]) -> None:
    """However many rows or columns there are."""
    tensor = qk.quantize(np.empty(shape, np.float32), "Q4_K")
    assert tensor.shape == shape
    assert tensor.data.size == 0
    assert qk.dequantize(tensor).shape == shape


@pytest.mark.parametrize(
    ("data", "type", "shape", "words"),
    [
        (np.zeros((1, 144), np.uint8), "Q4_K", (-1, -1, 256), "no negative size"),
        (np.zeros((1, 144), np.uint8), "Q4_K", (2, 256), r"\[2, 144\]; found uint8"),
        (np.zeros((1, 143), np.uint8), "Q4_K", (1, 256), r"found uint8 \[1, 143\]"),
        (np.zeros((1, 144), np.int8), "Q4_K", (1, 256), "found int8"),
        (np.zeros(144, np.uint8), "Q4_K", (256,), r"found uint8 \[144\]"),
        (b"\0" * 144, "Q4_K", (1, 256), "found bytes"),
        (np.zeros((1, 144), np.uint8), "Q4_K", (), "shape is"),
        (np.zeros((1, 144), np.uint8), "Q4_K", 256, "shape is 256"),
        (np.zeros((1, 144), np.uint8), "Q4_K", (1.5, 256), "expected integers"),
        (np.zeros((1, 144), np.uint8), "Q4_K", ("1", 256), "expected integers"),
        (np.zeros((1, 144), np.uint8), "Q4_K", (None, 256), "expected integers"),
        (np.zeros((1, 144), np.uint8), "Q4_K", (1, 200), "multiple of Q4_K's block"),
    ],
)
def test_bytes_that_do_not_fit_their_shape(
    data: Any, type: Any, shape: Any, words: str
) -> None:
    """A tensor says what it expected."""
    with pytest.raises(qk.ShapeError, match=words):
        qk.dequantize(qk.QuantizedTensor(data, type, shape))


def test_dequantize_wants_a_tensor() -> None:
    """Bytes alone do not say what they are."""
    with pytest.raises(
        qk.ShapeError, match=r"expected a QuantizedTensor.* uint8 \[1, 18\]"
    ):
        qk.dequantize(np.zeros((1, 18), np.uint8))  # type: ignore[arg-type]
