"""Perplexity, its error, and the error of a difference measured on the same tokens.

Tokens are taken as independent, as llama.cpp takes them.  With v_1 .. v_n the negative
log likelihoods, m their mean and s^2 = mean((v - m)^2):

- The perplexity is P = exp(m).  The mean's variance is s^2 / (n - 1), so by the delta
  method the error of P is P * s / sqrt(n - 1).
- Two models on the same tokens: by the same method P_q - P_b has the variance of the
  mean of P_q * v_q - P_b * v_b.  Multiplied out, that is llama.cpp's formula
  u_q^2 + u_b^2 - 2 P_q P_b cov; taken token by token, nothing cancels.  What both
  models find hard drops out, so a difference has a far smaller error than either P.
- ln(P_q / P_b) = mean(v_q - v_b), with the error of that mean.

Everything is f64, in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Estimate",
    "mean_estimate",
    "perplexity_difference",
    "perplexity_estimate",
    "perplexity_log_ratio",
]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float


def mean_estimate(values: F64) -> Estimate:
    """The mean of at least two values and its standard error."""
    mean = float(values.mean())
    variance = float(np.square(values - mean).mean())
    return Estimate(mean, math.sqrt(variance / (len(values) - 1)))


def perplexity_estimate(nll: F64) -> Estimate:
    """The perplexity of tokens with these negative log likelihoods."""
    mean = mean_estimate(nll)
    perplexity = math.exp(mean.value)
    return Estimate(perplexity, perplexity * mean.error)


def perplexity_difference(nll: F64, base: F64) -> Estimate:
    """How much higher the perplexity is than that of `base`, on the same tokens."""
    of_model, of_base = math.exp(nll.mean()), math.exp(base.mean())
    paired = mean_estimate(of_model * nll - of_base * base)
    return Estimate(of_model - of_base, paired.error)


def perplexity_log_ratio(nll: F64, base: F64) -> Estimate:
    """The logarithm of the perplexity over that of `base`, on the same tokens."""
    return mean_estimate(nll - base)
