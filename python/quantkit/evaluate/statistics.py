"""Estimates over tokens, each with its error, alone and paired.

Every function takes one number per scored token as f64 [chunks, tokens of a chunk] and
gives an `Estimate`: a value and two standard errors of it.

- `error` takes chunks as independent, not tokens (block over chunks).  A hard passage
  makes many tokens of a chunk hard at once, so tokens say less than their number
  suggests.  With y_1 .. y_k the means of the k chunks, all equally long, and m their
  mean, the error of m is sqrt(sum of (y - m)^2 / (k (k - 1))).  One chunk: NaN.
- `token_error` takes tokens as independent, as llama.cpp does: with v_1 .. v_n all
  tokens, sqrt(s^2 / (n - 1)), s^2 = mean((v - m)^2).

Values that are not plain means have the error of the mean that they come to for small
errors (delta method), and both errors by the same formula.  With v the negative log
likelihoods of a model, b those of the base on the same tokens, P = exp(mean v) and
P_b = exp(mean b):

    perplexity            P                     P times the error of mean(v)
    difference            P - P_b               that of mean(P v - P_b b)
    log ratio             mean(v - b)           that of this mean
    ratio                 exp(mean(v - b))      itself times that of mean(v - b)
    root mean square      R = sqrt(mean d^2)    that of mean(d^2), over 2 R

The difference, the ratios and everything else that compares two models are *paired*:
what both find hard drops out, so the error is far smaller than that of either P.
Multiplied out, the token error of the difference is llama.cpp's
sqrt(u^2 + u_b^2 - 2 P P_b cov); taken token by token, nothing cancels.

Everything is f64, in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .student import two_sided_p

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
]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and its standard errors.

    Attributes:
        value: the estimate.
        error: chunks taken as independent; NaN of one chunk.
        token_error: tokens taken as independent; NaN of one token.
    """

    value: float
    error: float
    token_error: float

    def scaled(self, value: float, factor: float) -> Estimate:
        """Another value, whose errors are `factor` times these."""
        return Estimate(value, factor * self.error, factor * self.token_error)


def mean_estimate(values: F64) -> Estimate:
    """The mean of all tokens."""
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
    """How much higher the perplexity is than that of `base`, on the same tokens."""
    of_model, of_base = math.exp(nll.mean()), math.exp(base.mean())
    return mean_estimate(of_model * nll - of_base * base).scaled(of_model - of_base, 1)


def perplexity_log_ratio(nll: F64, base: F64) -> Estimate:
    """The logarithm of the perplexity over that of `base`, on the same tokens."""
    return mean_estimate(nll - base)


def perplexity_ratio(nll: F64, base: F64) -> Estimate:
    """The perplexity over that of `base`, on the same tokens."""
    log_ratio = perplexity_log_ratio(nll, base)
    ratio = math.exp(log_ratio.value)
    return log_ratio.scaled(ratio, ratio)


def root_mean_square(values: F64) -> Estimate:
    """The root of the mean square; of nothing but zeros, 0 without error."""
    square = mean_estimate(np.square(values))
    root = math.sqrt(square.value)
    return square.scaled(root, 0.5 / root if root else 0.0)


def percentiles(values: F64, shares: Sequence[float]) -> list[float]:
    """The values below which so many per cent lie, interpolated between neighbours."""
    found: list[float] = np.percentile(values.ravel(), shares).tolist()
    return found


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, each counted alike (macro average)."""
    n = len(estimates)
    return Estimate(
        sum(e.value for e in estimates) / n,
        math.hypot(*(e.error for e in estimates)) / n,
        math.hypot(*(e.token_error for e in estimates)) / n,
    )


def p_value(difference: Estimate, dof: int) -> float:
    """How often chance alone makes a difference at least this large.

    Two-sided t test of the chunks' paired differences: t = value / error with `dof`
    degrees of freedom, which is chunks - 1 (of several texts, summed over them).

    Returns:
        1 where nothing differs, NaN where one chunk leaves the error unknown.
    """
    if difference.error == 0:
        return 1.0 if difference.value == 0 else 0.0
    return two_sided_p(difference.value / difference.error, dof)
