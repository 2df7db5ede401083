"""Sums over logits on a device, against those of the core.

The core's are in `csrc/ops/softmax.h`; a device does the same with each logit, so only
the order of the sums, which are in double precision, is another.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import _device, _native
from quantkit.errors import ShapeError

from .device_arrays import Kind
from .host_library import host_library as host_library
from .test_device_operations import fused, normal
from .test_device_operations import kind as kind
from .test_device_operations import order as order

F32 = NDArray[np.float32]
N_BEST = 5

TILES = [(1, [1]), (7, [5, 300, 256, 33]), (3, [1000])]
"""The number of rows, and of the tokens of each tile."""


def tiles_of(logits: F32, sizes: list[int]) -> list[tuple[int, F32]]:
    """The first token and the logits of each tile."""
    starts = np.cumsum([0, *sizes]).tolist()
    return [(a, logits[:, a:b]) for a, b in pairwise(starts)]


def states(n: int) -> tuple[NDArray[Any], F32]:
    """Rows before their first logit, and the same as words."""
    rows = _native.new_rows(n)
    return rows, rows.view(np.float64).reshape(n, 3).copy()


def rows_of(kind: Kind, words: Any) -> NDArray[Any]:
    return kind.here(words).reshape(-1).view(_native.new_rows(0).dtype)


def assert_equal_rows(got: NDArray[Any], expected: NDArray[Any], n: int) -> None:
    """Sums of n positive terms in another order."""
    for name in ("top", "highest", "wanted"):
        np.testing.assert_array_equal(got[name], expected[name])
    difference = np.abs(got["total"] - expected["total"])
    assert (difference <= 2 * n * 2**-53 * expected["total"]).all()


@pytest.mark.parametrize(("n", "sizes"), TILES)
def test_logits_are_added(kind: Kind, order: None, n: int, sizes: list[int]) -> None:
    """Tiles that grow the highest logit, and targets that are no token."""
    n_tokens = sum(sizes)
    logits = 8 * normal(n, n_tokens)
    logits[:, n_tokens // 2] = 9.5  # several have the same
    logits[:, -1] = 9.5
    targets = np.arange(n, dtype=np.int64) * 97 % (n_tokens + 3) - 1
    rows, words = states(n)
    state, there = kind.there(words), kind.there(targets)
    for start, tile in tiles_of(logits, sizes):
        _native.add_logits(tile, start, targets, rows, fused())
        _device.add_logits(
            kind.there(logits)[:, start : start + tile.shape[1]], start, there, state
        )
    assert_equal_rows(rows_of(kind, state), rows, n_tokens)


@pytest.mark.parametrize(("n", "sizes"), TILES)
def test_logits_are_compared(kind: Kind, order: None, n: int, sizes: list[int]) -> None:
    """Sums of the differences, of both signs, in another order."""
    n_tokens = sum(sizes)
    base = 8 * normal(n, n_tokens)
    logits = base + normal(n, n_tokens, seed=1)
    targets = np.arange(n, dtype=np.int64)
    (rows, words), (base_rows, base_words) = states(n), states(n)
    excess = np.zeros(n)
    state = [kind.there(each) for each in (words, base_words, excess)]
    for start, tile in tiles_of(logits, sizes):
        part = slice(start, start + tile.shape[1])
        of_base = base[:, part]
        pair = rows, base_rows
        _native.compare_logits(tile, of_base, start, targets, pair, excess, fused())
        parts = kind.there(logits)[:, part], kind.there(base)[:, part]
        _device.compare_logits(
            *parts, start, kind.there(targets), (state[0], state[1]), state[2]
        )
    assert_equal_rows(rows_of(kind, state[0]), rows, n_tokens)
    assert_equal_rows(rows_of(kind, state[1]), base_rows, n_tokens)
    highest = base.max(1, keepdims=True).astype(np.float64)
    terms = (np.exp(base - highest) * np.abs(base - logits)).sum(1)
    assert (np.abs(kind.here(state[2]) - excess) <= 2 * n_tokens * 2**-53 * terms).all()


def test_equal_logits_have_no_excess(kind: Kind) -> None:
    """Exactly 0, and the same rows, so that a divergence is exactly 0."""
    logits = 8 * normal(3, 777)
    words = states(3)[1]
    own, base, excess = (kind.there(x) for x in (words, words, np.zeros(3)))
    there, targets = kind.there(logits), kind.there(np.arange(3))
    for start in (0, 400):
        tile = there[:, start : start + 400]
        _device.compare_logits(tile, tile, start, targets, (own, base), excess)
    assert (kind.here(excess) == 0).all()
    assert kind.here(own).tobytes() == kind.here(base).tobytes()


def test_logits_that_are_no_numbers(kind: Kind) -> None:
    """NaN stays in the sum and is never the highest; tokens may be ruled out."""
    logits = normal(4, 100)
    logits[0, 7] = np.nan
    logits[1, 3:50] = -np.inf
    logits[2, :50] = -np.inf  # a whole tile
    logits[3, 4] = np.inf
    rows, words = states(4)
    targets, state = np.arange(4), kind.there(words)
    for start, tile in tiles_of(logits, [50, 50]):
        _native.add_logits(tile, start, targets, rows, fused())
        there = kind.there(tile.copy())
        _device.add_logits(there, start, kind.there(targets), state)
    got = rows_of(kind, state)
    for name in ("top", "highest", "wanted"):
        np.testing.assert_array_equal(got[name], rows[name])
    np.testing.assert_allclose(got["total"], rows["total"], rtol=100 * 2**-53)


@pytest.mark.parametrize(("n", "sizes"), TILES)
def test_the_best_logits(kind: Kind, order: None, n: int, sizes: list[int]) -> None:
    """Of equal ones the first token; fewer tokens than places; no NaN."""
    n_tokens = sum(sizes)
    logits = np.round(2 * normal(n, n_tokens))
    logits[0, ::7] = np.nan
    best = kind.there(np.full((n, N_BEST), -np.inf, np.float32))
    tokens = kind.there(np.full((n, N_BEST), -1))
    for start, tile in tiles_of(logits, sizes):
        there = kind.there(logits)[:, start : start + tile.shape[1]]
        _device.best_logits(there, start, best, tokens)
    order_of = np.argsort(-np.nan_to_num(logits, nan=-np.inf), axis=1, kind="stable")
    expected = np.full((n, N_BEST), -1)
    for i, row in enumerate(order_of):
        known = row[~np.isnan(logits[i, row])][:N_BEST]
        expected[i, : len(known)] = known
    np.testing.assert_array_equal(kind.here(tokens), expected)
    values = np.take_along_axis(logits, np.maximum(expected, 0), axis=1)
    values[expected < 0] = -np.inf
    np.testing.assert_array_equal(kind.here(best), values)


def test_what_does_not_fit_is_refused(kind: Kind) -> None:
    """Rows of the wrong number, and a tile of a token below 0."""
    logits, targets = kind.there(normal(3, 9)), kind.there(np.arange(3))
    with pytest.raises(ShapeError, match=r"rows of a device call is float64 .2, 3."):
        _device.add_logits(logits, 0, targets, kind.there(states(2)[1]))
    best, tokens = kind.there(normal(3, N_BEST)), kind.there(np.zeros((3, N_BEST), int))
    with pytest.raises(ShapeError, match="refused the sizes of logits"):
        _device.best_logits(logits, -1, best, tokens)
