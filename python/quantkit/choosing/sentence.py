"""The answer in one sentence: what was chosen, why, and how its neighbours compare."""

from __future__ import annotations

from ..evaluate.pairs import PairedDifference
from ..quantities import bytes_as_text, share_as_text, value_as_text
from .budget import Budget
from .candidate import Candidate

__all__ = [
    "chance_as_text",
    "limits_as_text",
    "sentence_of",
]

CERTAIN = 0.05
"""The p-value from which on a difference may be chance."""
SMALL_P = 0.001


def limits_as_text(budget: Budget, ctx: int | None) -> str:
    """The limits, such as "a file of 4.50 GB and KLD 0.03"."""
    limits = []
    if budget.max_size is not None:
        limits.append(f"a file of {bytes_as_text(budget.max_size)}")
    if budget.memory is not None:
        limits.append(f"{bytes_as_text(budget.memory)} of memory with {ctx} tokens")
    if budget.max_bpw is not None:
        limits.append(f"{budget.max_bpw:g} bits per weight")
    if budget.max_kld is not None:
        limits.append(f"KLD {budget.max_kld:g}")
    if budget.max_ppl_loss is not None:
        limits.append(f"PPL +{100 * budget.max_ppl_loss:g} %")
    return " and ".join(limits)


def sentence_of(
    budget: Budget,
    ctx: int | None,
    chosen: Candidate | None,
    neighbours: tuple[Candidate | None, Candidate | None],
    differences: tuple[PairedDifference | None, PairedDifference | None],
    nearest: Candidate | None,
) -> str:
    """The answer.

    Args:
        budget: the limits.
        ctx: the context that memory was computed for.
        chosen: the candidate to take; None: there is none.
        neighbours: the next smaller and the next larger candidate.
        differences: theirs from the chosen one.
        nearest: without a chosen one, the candidate that comes nearest to the limits.
    """
    limits = limits_as_text(budget, ctx)
    if chosen is None:
        best = "" if nearest is None else f"; the nearest is {_described(nearest)}"
        return f"No type keeps to {limits}{best}."
    if chosen.recipe is None:
        return (
            f"The model fits as it is: {_described(chosen)} keeps to {limits}, and "
            "quantizing it would only lose."
        )
    why = "loses least of those that keep to"
    if not budget.limits_size:
        why = "is the smallest that keeps to"
    parts = [f"Take {_described(chosen)}: it {why} {limits}"]
    words = ("next smaller", "next larger")
    for word, other, difference in zip(words, neighbours, differences, strict=True):
        if other is not None and difference is not None:
            parts.append(f"the {word}, {_compared(other, difference)}")
    return "; ".join(parts) + "."


def _described(candidate: Candidate) -> str:
    """A candidate with its size, and what it loses."""
    facts = [bytes_as_text(candidate.size_bytes)]
    if candidate.need is not None:
        facts.append(f"{bytes_as_text(candidate.need.total)} of memory")
    if candidate.kld_mean is not None and candidate.recipe is not None:
        facts.append(
            f"KLD {value_as_text(candidate.kld_mean, candidate.kld_mean_error)}"
        )
    if candidate.ppl_loss is not None and candidate.recipe is not None:
        loss = share_as_text(candidate.ppl_loss, candidate.ppl_loss_error)
        facts.append(f"PPL {loss}")
    return f"{candidate.name} ({', '.join(facts)})"


def _compared(other: Candidate, difference: PairedDifference) -> str:
    """A neighbour, and whether it differs by more than chance."""
    name = f"{other.name} ({bytes_as_text(other.size_bytes)})"
    found = chance_as_text(
        difference.kld_difference,
        difference.kld_difference_error,
        difference.kld_p_value,
    )
    outcome = f", but {other.outcome}" if other.is_barred else ""
    return f"{name}, {found}{outcome}"


def chance_as_text(difference: float, error: float, p: float) -> str:
    """Whether a KL divergence differs from another one by more than chance."""
    change = value_as_text(difference, error, sign="+")
    if not p < CERTAIN:
        return f"differs by no more than chance: KLD {change}, p = {p:.2g}"
    word = "more" if difference > 0 else "less"
    chance = f"p < {SMALL_P}" if p < SMALL_P else f"p = {p:.2g}"
    return f"loses {word}: KLD {change}, {chance}"
