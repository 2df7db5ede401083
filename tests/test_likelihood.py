"""Likelihoods and divergences by tiles, against f64 formulas over all of the logits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit._native import ENVIRONMENT_VARIABLE, Backend
from quantkit.errors import ShapeError
from quantkit.evaluate import likelihood
from quantkit.evaluate.likelihood import (
    VOCABULARY_ROWS,
    TokenScores,
    compare_tokens,
    negative_log_likelihood,
)
from quantkit.forward.base import Activations
from quantkit.inference.weights import TypedMatrix
from quantkit.types import QuantType

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


@pytest.fixture(autouse=True)
def _on(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on each backend of this machine."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.name)


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matrix(values: F32) -> TypedMatrix:
    return TypedMatrix(values.view(np.uint8), QuantType.F32, values.shape[1])


def log_softmax(logits: F64) -> F64:
    shifted = logits - logits.max(-1, keepdims=True)
    logs: F64 = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


@dataclass(frozen=True)
class Given:
    """A head that gives these logits, whatever the hidden states."""

    logits: F32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.logits.shape[1], 0

    def apply(self, x: F32 | Activations) -> F32:
        return self.logits

    def part(self, start: int, stop: int) -> Given:
        return Given(self.logits[:, start:stop])


def compared(logits: F32, base: F32, targets: NDArray[np.int64]) -> TokenScores:
    """The scores of a model that gives `logits` beside a base."""
    none = np.empty((len(logits), 0), np.float32)
    return compare_tokens(none, Given(logits), none, Given(base), targets)


@pytest.mark.parametrize("n_tokens", [1, 7, 17, VOCABULARY_ROWS, 2500])
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
    """Probabilities that llama.cpp clamps at e^-16 are included."""
    base = matrix(np.array([[0], [-20], [-40]], np.float32))
    model = matrix(np.array([[0], [-2000], [-40]], np.float32))
    one = np.ones((1, 1), np.float32)
    got = compare_tokens(one, model, one, base, np.array([0]))
    assert got.kld[0] == pytest.approx(np.exp(-20) * 1979, rel=1e-5)  # 1980 - ln Z


def test_equal_logits_go_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The top token of equal logits is the first one, across tiles too."""
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


@pytest.mark.parametrize("n_tokens", [3, 700, 2500])
def test_the_place_of_the_top_token_among_the_bases(n_tokens: int) -> None:
    """From 0, as sorted logits have it; 5 if it is not among the five likeliest."""
    base, noise = normal(300, n_tokens), normal(300, n_tokens, seed=1)
    got = compared(base + np.float32(0.4) * noise, base, np.zeros(300, np.int64))
    top = (base + np.float32(0.4) * noise).argmax(1)
    place = (base > np.take_along_axis(base, top[:, None], 1)).sum(1)
    assert np.array_equal(got.rank, np.minimum(place, 5))
    assert np.array_equal(got.same_top, got.rank == 0)
    assert set(got.rank) >= ({0, 1} if n_tokens == 3 else {0, 1, 2, 3, 4})


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("scale", [1, 4])
def test_divergence_is_exact_to_its_logits(noise: float, scale: float) -> None:
    """Of likely and of unlikely tokens: within 1e-7 for each, 2e-9 on average."""
    base = np.float32(scale) * normal(400, 5000) - 10
    base[::2, 77] += np.float32(12 * scale)
    logits = base + np.float32(noise) * normal(400, 5000, seed=1)
    p, q = (log_softmax(each.astype(np.float64)) for each in (base, logits))
    targets = np.random.default_rng(2).integers(0, 5000, 400)
    got = compared(logits, base, targets)
    error = got.kld - (np.exp(p) * (p - q)).sum(-1)
    assert np.abs(error).max() < 1e-7
    assert abs(error.mean()) < 2e-9
    assert np.abs(got.nll + q[np.arange(400), targets]).max() < 1e-7


def test_a_row_does_not_depend_on_the_others() -> None:
    """Nor on the number of threads; only rows with NaN are NaN."""
    base, logits = 3 * normal(24, 2500), 3 * normal(24, 2500, seed=1)
    targets = np.random.default_rng(2).integers(0, 2500, 24)
    logits[5, 1100] = base[8, 2499] = np.nan

    def scores(rows: NDArray[np.int64]) -> F64:
        got = compared(logits[rows], base[rows], targets[rows])
        return np.stack([got.nll, got.kld, got.same_top], axis=1)

    together = scores(np.arange(24))
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(scores, np.arange(24)[:, None]))
    assert np.array_equal(np.concatenate(alone), together, equal_nan=True)
    assert np.flatnonzero(np.isnan(together[:, 0])).tolist() == [5]
    assert np.flatnonzero(np.isnan(together[:, 1])).tolist() == [5, 8]


def test_tokens_ruled_out_count_for_nothing() -> None:
    """Logits of minus infinity, a whole tile of them too, of the base or of both."""
    base, logits = (normal(3, 2 * VOCABULARY_ROWS + 40, seed=s) for s in (0, 1))
    targets = np.array([VOCABULARY_ROWS, 2 * VOCABULARY_ROWS, 2 * VOCABULARY_ROWS + 3])
    logits[:, :VOCABULARY_ROWS] = base[:, :VOCABULARY_ROWS] = base[:, -30:] = -np.inf
    p, q = (log_softmax(each.astype(np.float64)) for each in (base, logits))
    able = np.isfinite(base[0])
    expected = (np.exp(p[:, able]) * (p[:, able] - q[:, able])).sum(-1)
    got = compared(logits, base, targets)
    assert np.allclose(got.nll, -q[np.arange(3), targets], rtol=1e-7)
    assert np.allclose(got.kld, expected, rtol=1e-6)
    assert compared(base, logits, targets).kld.tolist() == [np.inf] * 3


def test_large_steps_between_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest logit grows by little and by much, and sums are rescaled."""
    monkeypatch.setattr(likelihood, "VOCABULARY_ROWS", 1)
    steps = np.array([1e-6, 0.3, 0.7, 5, 30, 90, 600, 800, 1e5], np.float32)
    rising = np.cumsum(steps, dtype=np.float32)
    base = np.stack([rising, rising[::-1], -rising, np.roll(rising, 4)])
    logits = base + np.float32(0.01) * normal(*base.shape)
    p, q = (log_softmax(each.astype(np.float64)) for each in (base, logits))
    got = compared(logits, base, np.arange(4))
    assert np.allclose(got.nll, -q[np.arange(4), np.arange(4)], rtol=1e-12, atol=1e-7)
    assert np.allclose(got.kld, (np.exp(p) * (p - q)).sum(-1), atol=1e-7)


def test_heads_of_different_vocabularies_are_refused() -> None:
    """Logits that do not lie alike, and targets that are too few."""
    logits = normal(4, 30)
    with pytest.raises(ShapeError):
        compared(logits, logits[:, :20].copy(), np.zeros(4, np.int64))
    with pytest.raises(ShapeError):
        compared(logits, logits.copy(), np.zeros(3, np.int64))


def test_scores_stack_and_cut() -> None:
    """Chunks one after the other, and the first few of them."""
    parts = [TokenScores.of_base(np.full(3, i, np.float64)) for i in range(4)]
    stacked = TokenScores.stacked(parts)
    assert stacked.nll.shape == stacked.kld.shape == stacked.same_top.shape == (4, 3)
    assert np.array_equal(stacked.first(2).nll, [[0] * 3, [1] * 3])
