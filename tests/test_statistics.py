"""Perplexity, its error and paired differences, against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantkit.evaluate.statistics import (
    Estimate,
    mean_estimate,
    perplexity_difference,
    perplexity_estimate,
    perplexity_log_ratio,
)


def test_perplexity_by_hand() -> None:
    """Probabilities 1/2 and 1/8: the mean of ln 2 and ln 8 is ln 4."""
    estimate = perplexity_estimate(np.log([2.0, 8.0]))
    assert estimate.value == pytest.approx(4, rel=1e-15)
    assert estimate.error == pytest.approx(4 * math.log(2), rel=1e-15)


def test_equal_tokens_have_no_error() -> None:
    """A uniform model over 64 tokens has perplexity 64, exactly known."""
    nll = np.full(100, math.log(64))
    estimate = perplexity_estimate(nll)
    assert estimate.value == pytest.approx(64, rel=1e-14)
    assert estimate.error == pytest.approx(0, abs=1e-12)


def test_error_is_that_of_the_mean() -> None:
    """It falls with the root of the number of tokens, divisor n - 1."""
    values = np.random.default_rng(0).standard_normal(400)
    expected = Estimate(values.mean(), values.std(ddof=1) / math.sqrt(400))
    got = mean_estimate(values)
    assert got.value == pytest.approx(expected.value, rel=1e-13)
    assert got.error == pytest.approx(expected.error, rel=1e-13)


def test_difference_has_the_error_of_llama_cpp() -> None:
    """Paired by token it equals sqrt(u_q^2 + u_b^2 - 2 P_q P_b cov)."""
    random = np.random.default_rng(1)
    base = random.gamma(2.0, 1.5, 1000)
    nll = base + 0.05 * random.standard_normal(1000) + 0.01
    q, b = perplexity_estimate(nll), perplexity_estimate(base)
    covariance = (np.mean(nll * base) - nll.mean() * base.mean()) / (len(base) - 1)
    error = math.sqrt(q.error**2 + b.error**2 - 2 * q.value * b.value * covariance)
    got = perplexity_difference(nll, base)
    assert got.value == q.value - b.value
    assert got.error == pytest.approx(error, rel=1e-9)
    assert got.error < b.error / 10


def test_ratio_is_the_difference_of_means() -> None:
    """ln(P_q / P_b), with the error of the mean of the differences."""
    base = np.array([1.0, 2.0, 4.0])
    nll = base + np.array([0.1, 0.2, 0.3])
    got = perplexity_log_ratio(nll, base)
    assert got.value == pytest.approx(0.2, rel=1e-14)
    assert got.error == pytest.approx(0.1 / math.sqrt(3), rel=1e-14)


def test_a_model_does_not_differ_from_itself() -> None:
    """Not by rounding either: difference, ratio and their errors are 0."""
    nll = np.random.default_rng(2).gamma(2.0, 1.5, 333)
    assert perplexity_difference(nll, nll) == Estimate(0.0, 0.0)
    assert perplexity_log_ratio(nll, nll) == Estimate(0.0, 0.0)
