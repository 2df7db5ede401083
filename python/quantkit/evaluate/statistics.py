"""Estimates with standard errors over tokens, for one model and for paired differences.

Every function takes one value per scored token as f64 [chunks, tokens of a chunk] and
returns an `Estimate`: a value and two standard errors.

- `error` is the standard error over chunks (block error).  Tokens of a chunk are
  correlated, because a hard passage makes many of them hard.  With y_1 .. y_k the means
  of the k chunks, all of equal length, and m their mean, the error of m is
  sqrt(sum of (y - m)^2 / (k (k - 1))).  NaN for one chunk.
- `token_error` treats tokens as independent, as llama.cpp does: with v_1 .. v_n the
  values of all tokens, sqrt(s^2 / (n - 1)), s^2 = mean((v - m)^2).

For values that are not plain means, both errors are computed with the delta method.
With v the negative log likelihoods of a model, b those of the base on the same tokens,
P = exp(mean v) and P_b = exp(mean b):

    quantity              value                 error
    perplexity            P                     P * error of mean(v)
    difference            P - P_b               error of mean(P v - P_b b)
    log ratio             mean(v - b)           error of mean(v - b)
    ratio                 exp(mean(v - b))      ratio * error of mean(v - b)
    root mean square      R = sqrt(mean d^2)    error of mean(d^2) / (2 R)

All comparisons of two models are *paired*: variation that is common to both models
cancels, so the error is much smaller than that of either P.  The token error of the
difference equals llama.cpp's sqrt(u^2 + u_b^2 - 2 P P_b cov), but is computed token by
token, without numerical cancellation.

All sums are f64 in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Estimate",
    "average",
    "mean_estimate",
    "p_value",
    "percentiles",
    "perplexity_difference",
    "perplexity_estimate",
    "perplexity_log_ratio",
    "perplexity_ratio",
    "root_mean_square",
    "two_sided_p",
]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and its standard errors.

    Attributes:
        value: the estimate.
        error: the standard error over chunks; NaN for one chunk.
        token_error: the standard error over tokens; NaN for one token.
    """

    value: float
    error: float
    token_error: float

    def scaled(self, value: float, factor: float) -> Estimate:
        """An estimate with another value, and these errors times `factor`."""
        return Estimate(value, factor * self.error, factor * self.token_error)


def mean_estimate(values: F64) -> Estimate:
    """The mean over all tokens."""
    tokens = values.ravel()
    return Estimate(
        float(tokens.mean()),
        _error_of_mean(values.mean(axis=1)),
        _error_of_mean(tokens),
    )


def _error_of_mean(values: F64) -> float:
    """sqrt(mean((v - m)^2) / (n - 1))."""
    if len(values) < 2:
        return math.nan
    variance = float(np.square(values - values.mean()).mean())
    return math.sqrt(variance / (len(values) - 1))


def perplexity_estimate(nll: F64) -> Estimate:
    """The perplexity of tokens with these negative log likelihoods."""
    mean = mean_estimate(nll)
    perplexity = math.exp(mean.value)
    return mean.scaled(perplexity, perplexity)


def perplexity_difference(nll: F64, base: F64) -> Estimate:
    """The perplexity minus that of `base`, on the same tokens."""
    of_model, of_base = math.exp(nll.mean()), math.exp(base.mean())
    return mean_estimate(of_model * nll - of_base * base).scaled(of_model - of_base, 1)


def perplexity_log_ratio(nll: F64, base: F64) -> Estimate:
    """ln(perplexity / perplexity of `base`), on the same tokens."""
    return mean_estimate(nll - base)


def perplexity_ratio(nll: F64, base: F64) -> Estimate:
    """The perplexity divided by that of `base`, on the same tokens."""
    log_ratio = perplexity_log_ratio(nll, base)
    ratio = math.exp(log_ratio.value)
    return log_ratio.scaled(ratio, ratio)


def root_mean_square(values: F64) -> Estimate:
    """The root mean square; 0 with error 0 if all values are 0."""
    square = mean_estimate(np.square(values))
    root = math.sqrt(square.value)
    return square.scaled(root, 0.5 / root if root else 0.0)


def percentiles(values: F64, shares: Sequence[float]) -> list[float]:
    """The percentiles `shares` (0 to 100), linearly interpolated."""
    found: list[float] = np.percentile(values.ravel(), shares).tolist()
    return found


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of independent estimates (macro average)."""
    n = len(estimates)
    return Estimate(
        sum(e.value for e in estimates) / n,
        math.hypot(*(e.error for e in estimates)) / n,
        math.hypot(*(e.token_error for e in estimates)) / n,
    )


def p_value(difference: Estimate, dof: int) -> float:
    """The p-value of a paired difference: a two-sided t test over chunks.

    t = value / error with `dof` degrees of freedom: chunks - 1, summed over texts.

    Returns:
        1 if nothing differs, NaN if the error is unknown (one chunk).
    """
    if difference.error == 0:
        return 1.0 if difference.value == 0 else 0.0
    return two_sided_p(difference.value / difference.error, dof)


def two_sided_p(t: float, dof: int) -> float:
    """The two-sided p-value of `t` in Student's distribution.

    Args:
        t: a difference divided by its standard error.
        dof: the degrees of freedom.

    Returns:
        NaN if `t` is NaN or there is no degree of freedom.

    Example:
        >>> round(two_sided_p(2.0, 10), 6)
        0.073388
    """
    from scipy.special import stdtr  # takes a while, and few commands need it

    return math.nan if dof < 1 else float(2 * stdtr(dof, -abs(t)))
