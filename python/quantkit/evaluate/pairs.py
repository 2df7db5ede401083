"""Two entries compared with each other on the same tokens."""

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
    """Two entries compared on the same tokens: what `name` has more than `versus`.

    Attributes:
        delta_ppl, delta_ppl_error: of the perplexities, paired.
        ln_ppl_ratio, ln_ppl_ratio_error: log of the perplexities' ratio, paired.
        ppl_p_value: how often chance makes a ratio at least as far from 1.
        kld_difference, kld_difference_error: of the mean KL divergences, paired.
        kld_p_value: likewise.
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
    """What one entry has more than another; of several texts, the mean.

    Args:
        name, versus: the entries.
        scores, others: of each text, on chunks of which the first are the same.
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
