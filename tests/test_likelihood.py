"""Likelihoods and divergences by tiles, against f64 formulas over all of the logits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.evaluate import likelihood
from quantkit.evaluate.likelihood import (
    VOCABULARY_ROWS,
    TokenScores,
    compare_tokens,
    negative_log_likelihood,
)
from quantkit.evaluate.weights import TypedMatrix
from quantkit.types import QuantType

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matrix(values: F32) -> TypedMatrix:
    return TypedMatrix(values.view(np.uint8), QuantType.F32, values.shape[1])


def log_softmax(logits: F64) -> F64:
    shifted = logits - logits.max(-1, keepdims=True)
    logs: F64 = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


@pytest.mark.parametrize("n_tokens", [7, VOCABULARY_ROWS, 2500])
@pytest.mark.parametrize("scale", [1, 200])
def test_nll_is_the_formula(n_tokens: int, scale: float) -> None:
    """Tiles of the vocabulary give what one log softmax over all of it gives."""
    hidden, head = scale * normal(40, 16), normal(n_tokens, 16, seed=1)
    targets = np.random.default_rng(2).integers(0, n_tokens, 40)
    targets[:2] = 0, n_tokens - 1
    logs = log_softmax(hidden.astype(np.float64) @ head.T)
    got = negative_log_likelihood(hidden, matrix(head), targets)
    assert got.dtype == np.float64
    expected = -logs[np.arange(40), targets]
    assert np.allclose(got, expected, rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("n_tokens", [5, VOCABULARY_ROWS, 2500])
@pytest.mark.parametrize("noise", [0.001, 0.1, 3.0])
def test_scores_are_the_formulas(n_tokens: int, noise: float) -> None:
    """Divergence, likelihood and likeliest token, the base with a width of its own."""
    base_hidden, base_head = 3 * normal(40, 16), normal(n_tokens, 16, seed=1)
    head = np.hstack([base_head, normal(n_tokens, 3, seed=2)])
    hidden = np.hstack([base_hidden, noise * normal(40, 3, seed=3)])
    targets = np.random.default_rng(4).integers(0, n_tokens, 40)
    base = log_softmax((base_hidden @ base_head.T).astype(np.float64))
    logs = log_softmax((hidden @ head.T).astype(np.float64))
    got = compare_tokens(hidden, matrix(head), base_hidden, matrix(base_head), targets)
    assert np.allclose(got.kld, (np.exp(base) * (base - logs)).sum(-1), atol=1e-5)
    assert np.allclose(got.nll, -logs[np.arange(40), targets], atol=2e-5)
    assert np.array_equal(got.same_top, base.argmax(-1) == logs.argmax(-1))
    assert got.kld.mean() > 0


def test_small_divergences_keep_their_digits() -> None:
    """No clamp and no cancellation: 1e-7 nats are told from none, within 1e-8."""
    base_hidden = 3 * normal(200, 16)
    head = normal(3000, 16, seed=1)
    hidden = base_hidden.copy()
    hidden[:, 0] += np.float32(2e-3)
    base = log_softmax(base_hidden.astype(np.float64) @ head.T)
    logs = log_softmax(hidden.astype(np.float64) @ head.T)
    expected = (np.exp(base) * (base - logs)).sum(-1).mean()
    targets = np.zeros(200, np.int64)
    got = compare_tokens(hidden, matrix(head), base_hidden, matrix(head), targets)
    assert 1e-7 < expected < 1e-5
    assert got.kld.mean() == pytest.approx(expected, abs=2e-8)


def test_a_model_does_not_diverge_from_itself() -> None:
    """Not by rounding either: exactly 0, and the likelihood of the base alone."""
    hidden, head = 20 * normal(64, 16), matrix(normal(2500, 16, seed=1))
    targets = np.random.default_rng(2).integers(0, 2500, 64)
    got = compare_tokens(hidden, head, hidden.copy(), head, targets)
    assert not got.kld.any()
    assert got.same_top.all()
    assert np.array_equal(got.nll, negative_log_likelihood(hidden, head, targets))


def test_improbable_tokens_count() -> None:
    """What llama.cpp cuts at e^-16 is summed like the rest."""
    base = matrix(np.array([[0], [-20], [-40]], np.float32))
    model = matrix(np.array([[0], [-2000], [-40]], np.float32))
    one = np.ones((1, 1), np.float32)
    got = compare_tokens(one, model, one, base, np.array([0]))
    assert got.kld[0] == pytest.approx(np.exp(-20) * 1979, rel=1e-5)  # 1980 - ln Z


def test_equal_logits_go_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest of equals is the first one, across tiles too."""
    monkeypatch.setattr(likelihood, "VOCABULARY_ROWS", 2)
    base = np.array([[0], [1], [1], [1], [0]], np.float32)
    for top, same in ((0, False), (1, True), (2, False)):
        model = np.zeros((5, 1), np.float32)
        model[[top, 3]] = 1
        one = np.ones((1, 1), np.float32)
        got = compare_tokens(one, matrix(model), one, matrix(base), np.array([0]))
        assert got.same_top[0] == same
    last = np.array([[0], [0], [0], [1], [0]], np.float32)  # as far into its tile
    got = compare_tokens(one, matrix(last), one, matrix(base), np.array([0]))
    assert not got.same_top[0]


def test_scores_stack_and_cut() -> None:
    """Chunks one after the other, and the first few of them."""
    parts = [TokenScores.of_base(np.full(3, i, np.float64)) for i in range(4)]
    stacked = TokenScores.stacked(parts)
    assert stacked.nll.shape == stacked.kld.shape == stacked.same_top.shape == (4, 3)
    assert np.array_equal(stacked.first(2).nll, [[0] * 3, [1] * 3])
