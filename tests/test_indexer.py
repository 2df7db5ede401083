"""Which keys an indexer chooses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.forward.indexer import best_keys


def chosen_by_sorting(
    scores: NDArray[np.float32], seen: NDArray[np.bool_], count: int
) -> NDArray[np.bool_]:
    """Row by row, with a stable sort."""
    mask = np.zeros_like(seen)
    for row, (score, allowed) in enumerate(zip(scores, seen, strict=True)):
        keys = np.flatnonzero(allowed)
        best = np.argsort(-score[keys], kind="stable")[:count]
        mask[row, keys[best]] = True
    return mask


@pytest.mark.parametrize("count", [1, 3, 19, 20, 50])
@pytest.mark.parametrize("n_values", [2, 1000])
def test_the_best_keys_are_chosen(count: int, n_values: int) -> None:
    """Of those that a query sees; of equal ones the first."""
    rng = np.random.default_rng(count)
    scores = rng.integers(-1, n_values, (30, 20)).astype(np.float32)
    seen = rng.random((30, 20)) < 0.7
    got = best_keys(scores, seen, count)
    assert np.array_equal(got, chosen_by_sorting(scores, seen, count))


def test_heads_choose_their_own() -> None:
    """Scores with further axes in front."""
    scores = np.random.default_rng(0).normal(size=(2, 9, 9)).astype(np.float32)
    seen = np.tri(9, dtype=bool)
    got = best_keys(scores, seen, 4)
    for head in range(2):
        assert np.array_equal(got[head], best_keys(scores[head], seen, 4))
