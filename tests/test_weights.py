"""Weights in memory: matrices of any type, and what loading keeps and quantizes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from quantkit._native import Precision
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.errors import FormatError
from quantkit.gguf.keys import string, uint32
from quantkit.gguf.source import SourceTensor
from quantkit.inference.weights import MemoryWeights, TypedMatrix, load_weights
from quantkit.recipes import Recipe
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES, needed_importance

METADATA = {
    "general.architecture": string("llama"),
    "llama.block_count": uint32(1),
    "llama.attention.head_count": uint32(4),
}


def random_matrix(type: QuantType, n_rows: int, n_cols: int = 256) -> TypedMatrix:
    values = np.random.default_rng(n_rows).standard_normal((n_rows, n_cols), np.float32)
    data = quantize_rows(values, type, needed_importance(type, n_cols))
    return TypedMatrix(data, type, n_cols)


def rows_of(data: np.ndarray, start: int, stop: int) -> np.ndarray:
    return data[start:stop]


class FakeSource:
    """A GGUF file in memory."""

    def __init__(self, **matrices: TypedMatrix) -> None:
        self.metadata = METADATA
        self.tensors = {
            name: SourceTensor(
                name,
                matrix.shape,
                matrix.type,
                partial(rows_of, matrix.data),
            )
            for name, matrix in matrices.items()
        }


@pytest.mark.parametrize("numbers", [[0.25], [0.5, 2, 4]])
def test_a_scale_beside_a_matrix_multiplies_its_rows(numbers: list[float]) -> None:
    """As llama.cpp writes NVFP4: one for all, or one for each stacked matrix."""
    matrix = random_matrix(QuantType.NVFP4, 30)
    beside = TypedMatrix(
        np.array(numbers, np.float32).view(np.uint8)[None], QuantType.F32, 1
    )
    if len(numbers) > 1:
        beside = replace(beside, n_cols=len(numbers))
    source = FakeSource(**{"a.weight": matrix, "a.scale": beside})
    scaled = load_weights(source).matrix("a.weight")
    each = np.repeat(np.array(numbers, np.float32), 30 // len(numbers))
    x = np.random.default_rng(0).standard_normal((5, 256), np.float32)
    assert np.array_equal(scaled.apply(x), matrix.apply(x) * each)
    assert np.array_equal(scaled.part(7, 21).apply(x), scaled.apply(x)[:, 7:21])
    index = np.array([29, 3, 12])
    assert np.array_equal(scaled.rows(index), matrix.rows(index) * each[index, None])


def test_a_scale_of_other_rows_is_refused() -> None:
    """Four numbers cannot be shared by 30 rows."""
    beside = TypedMatrix(np.ones(4, np.float32).view(np.uint8)[None], QuantType.F32, 4)
    source = FakeSource(
        **{"a.weight": random_matrix(QuantType.Q8_0, 30), "a.scale": beside}
    )
    with pytest.raises(FormatError, match=r"'a\.scale' has 4 numbers.*30 rows"):
        load_weights(source)


@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_a_matrix_is_its_dequantized_self(type: QuantType) -> None:
    """apply, part and rows, over tiles that do not divide the rows."""
    matrix = random_matrix(type, 30)
    plain = dequantize_rows(matrix.data, type, 256)
    x = np.random.default_rng(0).standard_normal((5, 256), np.float32)
    expected = x.astype(np.float64) @ plain.T
    assert np.allclose(matrix.apply(x), expected, atol=1e-4)
    assert matrix.part(3, 20).shape == (17, 256)
    assert np.allclose(matrix.part(3, 20).apply(x), expected[:, 3:20], atol=1e-4)
    index = np.array([29, 0, 3, 3])
    assert np.array_equal(matrix.rows(index), plain[index])


@pytest.mark.parametrize("precision", Precision, ids=lambda p: p.name)
def test_a_native_matrix_is_near_its_dequantized_self(precision: Precision) -> None:
    """Of a precision, whole and in part; activations need not be contiguous."""
    matrix = replace(random_matrix(QuantType.Q4_K, 30), precision=precision)
    plain = dequantize_rows(matrix.data, matrix.type, 256)
    x = np.random.default_rng(0).standard_normal((256, 5), np.float32).T
    tolerance = 0.5 if precision is Precision.Q8 else 2e-3
    expected = x.astype(np.float64) @ plain.T
    assert np.allclose(matrix.apply(x), expected, atol=tolerance)
    assert np.array_equal(matrix.part(3, 20).apply(x), matrix.apply(x)[:, 3:20])


def test_a_recipe_quantizes_what_it_names_and_keeps_the_rest() -> None:
    """Bytes as quantize_rows gives them; kept tensors are views, not copies."""
    up, norm = random_matrix(QuantType.F32, 5000), random_matrix(QuantType.F32, 1)
    names = {"blk.0.ffn_up.weight": up, "blk.0.ffn_norm.weight": norm}
    source = FakeSource(**names)
    reports: list[tuple[str, int, int]] = []
    weights = load_weights(
        source,
        Recipe.parse("Q4_0"),
        threads=2,
        progress=lambda *report: reports.append(report),
    )
    quantized = weights.matrix("blk.0.ffn_up.weight")
    assert quantized.type is QuantType.Q4_0
    expected = quantize_rows(up.data.view(np.float32), QuantType.Q4_0)
    assert np.array_equal(quantized.data, expected)
    kept = weights.matrix("blk.0.ffn_norm.weight")
    assert np.shares_memory(kept.data, norm.data)
    assert reports[-1] == ("Q4_0: quantize", 5000 * 256, 5000 * 256)
    assert len(reports) == 2  # slabs of 4096 rows


def test_without_a_recipe_nothing_is_copied() -> None:
    """The weights stay where they are."""
    matrix = random_matrix(QuantType.F16, 3)
    weights = load_weights(FakeSource(**{"token_embd.weight": matrix}))
    assert np.shares_memory(weights.matrix("token_embd.weight").data, matrix.data)


def test_importance_reaches_its_tensor() -> None:
    """By tensor name; others are quantized without."""
    source = FakeSource(
        **{f"blk.{i}.ffn_up.weight": random_matrix(QuantType.F32, 9) for i in range(2)}
    )
    importance = np.linspace(0, 9, 256, dtype=np.float32)
    weights = load_weights(
        source,
        Recipe.parse("Q4_K_S"),
        importance={"blk.1.ffn_up.weight": importance},
    )
    values = source.tensors["blk.0.ffn_up.weight"].read(0, 9).view(np.float32)
    for i, given in enumerate((None, importance)):
        matrix = weights.matrix(f"blk.{i}.ffn_up.weight")
        expected = quantize_rows(values, QuantType.Q4_K, given)
        assert np.array_equal(matrix.data, expected)


def test_missing_tensors_are_named() -> None:
    """As matrix and as vector."""
    for read in (MemoryWeights({}).matrix, MemoryWeights({}).vector):
        with pytest.raises(FormatError, match=r"lacks the tensor 'output\.weight'"):
            read("output.weight")
