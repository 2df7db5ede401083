"""Paired differences of two entries on the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..by_value import ByValue
from .likelihood import TokenScores
from .statistics import (
    average,
    mean_estimate,
    p_value,
    perplexity_difference,
    perplexity_log_ratio,
)

__all__ = ["PairedDifference", "paired"]


@dataclass(frozen=True, eq=False)
class PairedDifference(ByValue):
    """The paired differences `name` minus `versus` on the same tokens.

    Attributes:
        delta_ppl, delta_ppl_error: the difference of the perplexities.
        ln_ppl_ratio, ln_ppl_ratio_error: the log ratio of the perplexities.
        ppl_p_value: the two-sided p-value of the log ratio.
        kld_difference, kld_difference_error: the difference of the mean KL divergences.
        kld_p_value: its two-sided p-value.
    """

    name: str
    versus: str
    delta_ppl: float
    delta_ppl_error: float
    ln_ppl_ratio: float
    ln_ppl_ratio_error: float
    ppl_p_value: float
    kld_difference: float
    kld_difference_error: float
    kld_p_value: float


def paired(
    name: str,
    versus: str,
    scores: Sequence[TokenScores],
    others: Sequence[TokenScores],
) -> PairedDifference:
    """The paired difference of two entries; with several texts, the mean over texts.

    Args:
        name, versus: the names of the entries.
        scores, others: their scores on each text; chunks beyond the shorter one are
            ignored.
    """
    pairs = [
        (one.first(n), two.first(n))
        for one, two in zip(scores, others, strict=True)
        for n in [min(len(one.nll), len(two.nll))]
    ]
    delta = average([perplexity_difference(one.nll, two.nll) for one, two in pairs])
    ratio = average([perplexity_log_ratio(one.nll, two.nll) for one, two in pairs])
    kld = average([mean_estimate(one.kld - two.kld) for one, two in pairs])
    dof = sum(len(one.nll) - 1 for one, _ in pairs)
    return PairedDifference(
        *(name, versus),
        *(delta.value, delta.error),
        *(ratio.value, ratio.error, p_value(ratio, dof)),
        *(kld.value, kld.error, p_value(kld, dof)),
    )
