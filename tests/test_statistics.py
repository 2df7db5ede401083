"""Estimates, their errors and paired tests, against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantkit.evaluate.statistics import (
    Estimate,
    average,
    mean_estimate,
    p_value,
    percentiles,
    perplexity_difference,
    perplexity_estimate,
    perplexity_log_ratio,
    perplexity_ratio,
    root_mean_square,
    two_sided_p,
)

NOTHING = Estimate(0.0, 0.0, 0.0)


def gamma(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 1.5, shape)


def error_of_mean(values: np.ndarray) -> float:
    return values.std(ddof=1) / math.sqrt(len(values))


def test_perplexity_by_hand() -> None:
    """Probabilities 1/2 and 1/8: the mean of ln 2 and ln 8 is ln 4."""
    estimate = perplexity_estimate(np.log([[2.0, 8.0]]))
    assert estimate.value == pytest.approx(4, rel=1e-15)
    assert estimate.token_error == pytest.approx(4 * math.log(2), rel=1e-15)
    assert math.isnan(estimate.error)  # which one chunk cannot tell


def test_equal_tokens_have_no_error() -> None:
    """A uniform model over 64 tokens has perplexity 64, exactly known."""
    estimate = perplexity_estimate(np.full((10, 10), math.log(64)))
    assert estimate.value == pytest.approx(64, rel=1e-14)
    assert estimate.error == pytest.approx(0, abs=1e-12)
    assert estimate.token_error == pytest.approx(0, abs=1e-12)


def test_errors_of_a_mean() -> None:
    """One error treats chunks as independent, the other tokens."""
    values = gamma(0, 40, 10)
    got = mean_estimate(values)
    assert got.value == pytest.approx(values.mean(), rel=1e-13)
    assert got.error == pytest.approx(error_of_mean(values.mean(1)), rel=1e-13)
    assert got.token_error == pytest.approx(error_of_mean(values.ravel()), rel=1e-13)


def test_errors_agree_where_tokens_are_independent() -> None:
    """If tokens of a chunk are correlated, only the error over chunks shows it."""
    independent = mean_estimate(gamma(1, 2000, 20))
    assert independent.error == pytest.approx(independent.token_error, rel=0.1)
    shared = mean_estimate(np.repeat(gamma(2, 2000, 1), 20, axis=1))
    assert shared.error == pytest.approx(shared.token_error * math.sqrt(20), rel=1e-2)


def test_difference_has_the_error_of_llama_cpp() -> None:
    """Paired by token it equals sqrt(u_q^2 + u_b^2 - 2 P_q P_b cov)."""
    base = gamma(1, 10, 100)
    noise = np.random.default_rng(1).standard_normal(base.shape)
    nll = base + 0.05 * noise + 0.01
    q, b = perplexity_estimate(nll), perplexity_estimate(base)
    covariance = (np.mean(nll * base) - nll.mean() * base.mean()) / (base.size - 1)
    error = math.sqrt(
        q.token_error**2 + b.token_error**2 - 2 * q.value * b.value * covariance
    )
    got = perplexity_difference(nll, base)
    assert got.value == q.value - b.value
    assert got.token_error == pytest.approx(error, rel=1e-9)
    assert got.token_error < b.token_error / 10


def test_difference_is_paired_by_chunk() -> None:
    """Its error is that of the mean of the chunks' P_q v_q - P_b v_b."""
    base = gamma(3, 30, 20)
    nll = base + 0.05 * np.random.default_rng(4).standard_normal(base.shape)
    chunks = math.exp(nll.mean()) * nll.mean(1) - math.exp(base.mean()) * base.mean(1)
    got = perplexity_difference(nll, base)
    assert got.error == pytest.approx(error_of_mean(chunks), rel=1e-12)


def test_ratios_are_of_the_difference_of_means() -> None:
    """ln(P_q / P_b), with the error of the mean of the differences; and its exp."""
    base = np.array([[1.0], [2.0], [4.0]])
    nll = base + np.array([[0.1], [0.2], [0.3]])
    got = perplexity_log_ratio(nll, base)
    assert got.value == pytest.approx(0.2, rel=1e-14)
    assert got.error == pytest.approx(0.1 / math.sqrt(3), rel=1e-14)
    ratio = perplexity_ratio(nll, base)
    assert ratio.value == pytest.approx(math.exp(0.2), rel=1e-14)
    assert ratio.error == pytest.approx(math.exp(0.2) * got.error, rel=1e-14)
    assert ratio.token_error == pytest.approx(ratio.error, rel=1e-12)


def test_a_share_has_the_binomial_error() -> None:
    """Of same tops: sqrt(p (1 - p) / (n - 1))."""
    share = mean_estimate(np.array([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]]))
    assert share.value == 0.75
    assert share.token_error == pytest.approx(math.sqrt(0.75 * 0.25 / 7), rel=1e-14)


def test_root_mean_square() -> None:
    """With llama.cpp's error, 0.5 / RMS times that of the mean square."""
    values = np.random.default_rng(5).standard_normal((20, 10))
    got, square = root_mean_square(values), mean_estimate(values**2)
    assert got.value == pytest.approx(math.sqrt(square.value), rel=1e-14)
    assert got.error == pytest.approx(0.5 / got.value * square.error, rel=1e-14)
    assert root_mean_square(np.zeros((3, 4))) == NOTHING


def test_percentiles_are_interpolated() -> None:
    """Between neighbours of the sorted values."""
    values = np.array([[3.0, 1.0], [0.0, 2.0]])
    assert percentiles(values, [0, 50, 90, 100]) == pytest.approx([0, 1.5, 2.7, 3])


def test_average_counts_texts_alike() -> None:
    """Errors of independent values add up in squares."""
    got = average([Estimate(1.0, 0.3, 0.6), Estimate(3.0, 0.4, 0.8)])
    assert (got.value, got.error, got.token_error) == pytest.approx((2, 0.25, 0.5))


def test_a_model_does_not_differ_from_itself() -> None:
    """Exactly: difference, ratio and their errors are 0."""
    nll = gamma(2, 9, 37)
    assert perplexity_difference(nll, nll) == NOTHING
    assert perplexity_log_ratio(nll, nll) == NOTHING
    assert p_value(NOTHING, 8) == 1


@pytest.mark.parametrize(
    ("t", "dof", "p"),
    [
        (0, 3, 1.0),
        (1, 1, 0.5),  # Cauchy's distribution
        (12.706204736432095, 1, 0.05),
        (4.302652729696142, 2, 0.05),
        (2.228138851964939, 10, 0.05),
        (-2.228138851964939, 10, 0.05),
        (1.984467454426692, 98, 0.05),
        (1.959963984540054, 10**7, 0.05),
        (40, 100, 2.46210760214007e-63),
        (math.inf, 5, 0.0),
    ],
)
def test_students_t(t: float, dof: int, p: float) -> None:
    """Critical values of tables, both tails."""
    assert two_sided_p(t, dof) == pytest.approx(p, rel=1e-6, abs=0)


def test_p_values_of_differences() -> None:
    """t = value / error; certain where nothing varies, unknown of one chunk."""
    assert p_value(Estimate(2.0, 1.0, 0.5), 10) == two_sided_p(2.0, 10)
    assert p_value(Estimate(2.0, 0.0, 0.0), 10) == 0
    assert math.isnan(p_value(Estimate(2.0, math.nan, 0.5), 0))


def test_p_values_are_uniform_where_nothing_differs() -> None:
    """A t of 8 chunks is beyond its 5% point in 5% of all cases, not in 9%."""
    values = np.random.default_rng(6).standard_normal((4000, 8, 1))
    found = [p_value(mean_estimate(each), 7) for each in values]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.01)
