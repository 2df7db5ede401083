"""Tensors made of others a few rows at a time, against the same on whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.checkpoint.lazy import (
    LazyTensor,
    computed,
    joined,
    reshaped,
    stacked,
    taken,
    transposed,
    values_of,
)
from quantkit.checkpoint.lazy_functions import as_floats, mapped, plus
from quantkit.checkpoint.lazy_rows import by_rows
from quantkit.checkpoint.lazy_sums import summed
from quantkit.errors import CheckpointError
from quantkit.types import QuantType

RNG = np.random.default_rng(0)


@dataclass
class Stored:
    """An array as a tensor that knows how many rows were read of it."""

    array: NDArray[Any]
    type: QuantType
    n_read: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        return self.pick(np.arange(start, stop))

    def pick(self, index: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        self.n_read += len(index)
        rows = self.array.reshape(-1, self.shape[-1])[index]
        return np.ascontiguousarray(rows).view(np.uint8)


def tensor(*shape: int) -> Stored:
    values = RNG.standard_normal(shape).astype(np.float32)
    return Stored(values, QuantType.F32)


def check(made: LazyTensor, expected: NDArray[Any]) -> None:
    """Whole, in ranges, and in any order of rows."""
    assert made.shape == expected.shape
    assert np.array_equal(values_of(made), expected)
    rows = expected.reshape(-1, expected.shape[-1])
    n_rows = len(rows)
    for start, stop in ((0, 0), (0, 1), (n_rows // 3, n_rows), (1, n_rows - 1)):
        got = made.rows(start, max(start, stop)).view(np.float32)
        assert np.array_equal(got, rows[start : max(start, stop)])
    order = RNG.permutation(n_rows)
    assert np.array_equal(made.pick(order).view(np.float32), rows[order])


def test_taken_reorders_and_cuts() -> None:
    """Along the first axis and along an inner one, of matrices, stacks and vectors."""
    matrix, stack, vector = tensor(6, 4), tensor(3, 6, 4), tensor(6)
    index = np.array([5, 0, 3])
    check(taken(matrix, index), matrix.array[index])
    check(taken(stack, index, axis=1), stack.array[:, index])
    check(taken(stack, np.array([2, 0])), stack.array[[2, 0]])
    check(taken(vector, index), vector.array[index])


def test_stacked_and_joined() -> None:
    """Ranges and orders that span the parts."""
    parts = [tensor(2, 3) for _ in range(3)]
    arrays = [part.array for part in parts]
    check(stacked(parts), np.stack(arrays))
    check(joined([*parts, tensor(0, 3)]), np.concatenate(arrays))
    vectors = [tensor(3), tensor(5)]
    check(joined(vectors), np.concatenate([part.array for part in vectors]))


def test_reshaped() -> None:
    """With rows of the same length, and of another."""
    matrix = tensor(6, 4)
    check(reshaped(matrix, (2, 3, 4)), matrix.array.reshape(2, 3, 4))
    check(reshaped(matrix, (24,)), matrix.array.reshape(24))
    check(reshaped(matrix, (3, 8)), matrix.array.reshape(3, 8))


def test_transposed() -> None:
    """A matrix, and each matrix of a stack."""
    matrix, stack = tensor(5, 7), tensor(2, 3, 4)
    check(transposed(matrix), matrix.array.T)
    check(transposed(stack), stack.array.swapaxes(1, 2))


def test_steps_compose() -> None:
    """As DeepSeek's keys: cut out of a fused matrix, head by head, and transposed."""
    fused = tensor(2 * 5, 4)
    heads = fused.array.reshape(2, 5, 4)
    made = transposed(taken(reshaped(fused, (2, 5, 4)), np.arange(3), axis=1))
    check(made, heads[:, :3].swapaxes(1, 2))


def test_only_what_is_asked_for_is_read() -> None:
    """One row of a reordered matrix is one row of the stored one."""
    matrix = tensor(100, 4)
    made = taken(matrix, np.arange(100)[::-1])
    made.rows(3, 5)
    assert matrix.n_read == 2


@pytest.mark.parametrize(
    ("dtype", "type", "expected"),
    [
        (np.float32, QuantType.F32, np.float32),
        (np.float16, QuantType.F16, np.float16),
    ],
)
def test_plus_rounds_to_the_type(dtype: Any, type: QuantType, expected: Any) -> None:
    """F16 sums are F16; BF16 sums are F32."""
    stored = Stored(np.array([[0.0004, -0.5, 3.0]], dtype), type)
    made = plus(stored, 1)
    assert made.type is type
    assert np.array_equal(made.rows(0, 1).view(expected), stored.array + expected(1))
    bf16 = (np.array([[0.0078125]], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    widened = plus(Stored(bf16, QuantType.BF16), 1)
    assert widened.type is QuantType.F32
    assert values_of(widened) == np.float32(1.0078125)


def test_computed() -> None:
    """Any numbers, as F32."""
    made = computed(np.arange(6).reshape(2, 3))
    assert made.type is QuantType.F32
    check(made, np.arange(6, dtype=np.float32).reshape(2, 3))


def test_parts_must_be_alike() -> None:
    """The types and shapes that differ are named."""
    other = Stored(np.zeros((2, 4), np.float16), QuantType.F16)
    with pytest.raises(CheckpointError, match=r"F32 \[2, 4\] and F16 \[2, 4\]"):
        stacked([tensor(2, 4), other])
    message = r"\[2, 4\] cannot be reshaped to \[3, 3\]"
    with pytest.raises(CheckpointError, match=message):
        reshaped(tensor(2, 4), (3, 3))


def test_functions_of_weights() -> None:
    """In f32; types that are wider already stay as they are."""
    stored = tensor(3, 4)
    assert as_floats(stored) is stored
    halves = Stored(stored.array.astype(np.float16), QuantType.F16)
    check(as_floats(halves), halves.array.astype(np.float32))
    check(mapped(stored, np.square), np.square(stored.array))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_sums_of_parts_of_rows(dtype: type[np.floating[Any]]) -> None:
    """In f32, and in the type that the parts have."""
    array = RNG.standard_normal((5, 12)).astype(dtype)
    type = QuantType.F16 if dtype is np.float16 else QuantType.F32
    wide = array.astype(np.float32).reshape(5, 3, 4)
    expected = (wide[:, 0] + wide[:, 1] + wide[:, 2]).astype(dtype)
    made = summed(Stored(array, type), 3)
    assert made.type is type
    assert np.array_equal(values_of(made), expected.astype(np.float32))
    picked = made.pick(np.array([3, 0])).view(dtype)
    assert np.array_equal(picked, expected[[3, 0]])


def test_rows_of_two_stacks() -> None:
    """One after the other in each matrix, or alternating; also elements of vectors."""
    one, other = tensor(3, 2, 4), tensor(3, 5, 4)
    check(by_rows(one, other, "a"), np.concatenate([one.array, other.array], axis=1))
    second = tensor(3, 2, 4)
    pairs = np.stack([one.array, second.array], axis=2).reshape(3, 4, 4)
    check(by_rows(one, second, "a", alternate=True), pairs)
    vectors = tensor(3, 2), tensor(3, 2)
    both = np.stack([vector.array for vector in vectors], axis=2).reshape(3, 4)
    check(by_rows(*vectors, "a", alternate=True), both)
    for wrong in (tensor(2, 2, 4), tensor(3, 2, 3), tensor(3, 2)):
        with pytest.raises(CheckpointError, match=r"'a' is F32 .* do not fit together"):
            by_rows(one, wrong, "a")
