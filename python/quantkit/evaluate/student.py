"""Student's t distribution for two-sided tests.

Sources: Abramowitz and Stegun, 26.5.8 and 26.7.1; the modified Lentz method of Thompson
and Barnett for the continued fraction (J. Comput. Phys. 64, 1986).
"""

from __future__ import annotations

import math

__all__ = ["two_sided_p"]

TINY = 1e-300
PRECISION = 1e-15
MAX_TERMS = 10_000


def two_sided_p(t: float, dof: int) -> float:
    """The two-sided p-value of `t` with `dof` degrees of freedom.

    It is I_x(dof / 2, 1 / 2) at x = dof / (dof + t^2), where I is the regularised
    incomplete beta function.

    Example:
        >>> round(two_sided_p(2.0, 10), 6)
        0.073388
    """
    if math.isnan(t) or dof < 1:
        return math.nan
    if math.isinf(t):
        return 0.0
    rest = t * t / (dof + t * t)
    return _incomplete_beta(dof / 2, 0.5, dof / (dof + t * t), rest)


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b); `rest` is 1 - x in full precision."""
    if x == 0 or rest == 0:
        return 0.0 if x == 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction would converge slowly
        return 1 - _incomplete_beta(b, a, rest, x)
    log_front = a * math.log(x) + b * math.log(rest) - math.log(a)
    log_front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction 1 / (1 + d_1 / (1 + d_2 / (1 + ...)))."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for term in range(1, MAX_TERMS):
        d = _coefficient(term, a, b, x)
        denominator = 1 / ((1 + d * denominator) or TINY)
        numerator = (1 + d / numerator) or TINY
        factor = numerator * denominator
        value *= factor
        if abs(factor - 1) < PRECISION:
            break
    return 1 / value


def _coefficient(term: int, a: float, b: float, x: float) -> float:
    """d_term of 26.5.8, counted from 1."""
    m, is_odd = divmod(term, 2)
    if is_odd:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
