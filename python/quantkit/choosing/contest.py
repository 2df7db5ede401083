"""Successive halving: candidates that cannot win any more are not measured further.

After each round, every candidate that is still in has been measured on the same chunks.
It drops out for one of these reasons, each at p < 0.01 of a paired t test over chunks:

- it is too lossy: its loss is above a limit;
- it is beaten: another one has a smaller KL divergence, and is no larger, or fits,
  too, where sizes are limited.  If the perplexity is limited, the other one must keep
  that limit, because its perplexity may be higher all the same;
- it is outdone: where only losses are limited, a smaller file keeps the limits.

Each round doubles the chunks.  What is decided early is decided at the same level of
significance as at the end, so a candidate drops out wrongly in fewer than 1 of 100
cases for each comparison, and then only for one that is hardly better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..evaluate.measurement import Measurement
from ..evaluate.results import Comparison
from ..evaluate.statistics import Estimate, p_value
from .budget import Budget

__all__ = ["LESS_IS_ENOUGH", "Contest", "Limits", "rounds"]

SURELY = 0.01
"""The p-value below which a candidate drops out."""
N_ROUNDS = 4
FEWEST = 4
"""Chunks of the first round: fewer say little about their own error."""
CERTAIN = 0.05
"""The p-value below which differences count when the winner is chosen."""

UNCERTAIN = "may lose too much"
ALIKE = "no better by more than chance"
LESS_IS_ENOUGH = "a smaller one is enough"


def rounds(n_chunks: int) -> list[int]:
    """The chunks of each text that are measured by the end of each round.

    Example:
        >>> rounds(64), rounds(10)
        ([8, 16, 32, 64], [4, 5, 10])
    """
    counts = [n_chunks >> (N_ROUNDS - 1 - i) for i in range(N_ROUNDS)]
    return sorted({max(count, min(FEWEST, n_chunks)) for count in counts})


@dataclass(frozen=True)
class Limits:
    """Whether rows keep the limits of loss.

    Attributes:
        budget: the limits.
    """

    budget: Budget

    def excess(self, row: Measurement, n_texts: int) -> list[tuple[float, float]]:
        """How far each limited loss is above its limit, and the p-value of that."""
        dof = row.chunks - n_texts
        found = []
        if self.budget.max_kld is not None:
            found.append((row.kld_mean - self.budget.max_kld, row.kld_mean_error))
        if self.budget.max_ppl_loss is not None:
            limit = math.log1p(self.budget.max_ppl_loss)
            found.append((row.ln_ppl_ratio - limit, row.ln_ppl_ratio_error))
        estimates = (Estimate(value, error, math.nan) for value, error in found)
        return [(each.value, p_value(each, dof)) for each in estimates]

    def breaks(self, row: Measurement, n_texts: int, level: float) -> bool:
        """Whether a loss is above its limit, by more than chance."""
        excess = self.excess(row, n_texts)
        return any(value > 0 and p < 2 * level for value, p in excess)

    def keeps(self, row: Measurement, n_texts: int, level: float) -> bool:
        """Whether all losses are below their limits, by more than chance."""
        excess = self.excess(row, n_texts)
        return all(value < 0 and p < 2 * level for value, p in excess)


def _loses_more(
    name: str, other: str, rows: Mapping[str, Measurement], result: Comparison
) -> bool:
    """Whether a candidate's KL divergence is larger than another's, surely."""
    is_more = rows[name].kld_mean > rows[other].kld_mean
    return is_more and result.versus(name, other).kld_p_value < SURELY


@dataclass
class Contest:
    """The candidates that are still in, and why the others are out.

    Attributes:
        budget: the limits.
        sizes: the bytes of each candidate's file, by its name.
        fitting: the candidates that fit the limits of size.
        out: why each other candidate is out.
    """

    budget: Budget
    sizes: Mapping[str, int]
    fitting: frozenset[str]
    out: dict[str, str] = field(default_factory=dict)

    @property
    def standing(self) -> list[str]:
        """The candidates that can still win, the smallest first."""
        left = [name for name in self.fitting if name not in self.out]
        return sorted(left, key=lambda name: (self.sizes[name], name))

    def judge(self, result: Comparison) -> None:
        """Let those drop out that cannot win any more."""
        rows = {row.name: row for row in result.results}
        limits, n_texts = Limits(self.budget), len(result.texts)
        for name in self.standing:
            if limits.breaks(rows[name], n_texts, SURELY):
                self.out[name] = "loses too much"
        standing = self.standing  # those who drop out below still beat others
        for name in standing:
            why = self._better(name, standing, rows, result)
            if why is not None:
                self.out[name] = why

    def _better(
        self,
        name: str,
        others: Sequence[str],
        rows: Mapping[str, Measurement],
        result: Comparison,
    ) -> str | None:
        """Why another candidate is surely a better choice; None: none is."""
        limits, n_texts = Limits(self.budget), len(result.texts)
        for other in others:
            if other == name:
                continue
            is_smaller = self.sizes[other] <= self.sizes[name]
            is_good = limits.keeps(rows[other], n_texts, SURELY)
            only_losses = not self.budget.limits_size
            if only_losses and is_good and self.sizes[other] < self.sizes[name]:
                return f"{other} is enough"
            competes = is_smaller or self.budget.limits_size
            if self.budget.max_ppl_loss is not None:
                competes = competes and is_good
            if competes and _loses_more(name, other, rows, result):
                return f"beaten by {other}"
        return None

    def winner(self, result: Comparison) -> str | None:
        """The candidate to choose among those that are left; None: none is good enough.

        Where sizes are limited, it is the one with the least KL divergence, or a
        smaller one that differs from it by no more than chance.  Where only losses are
        limited, it is the smallest that keeps the limits by more than chance.
        """
        able = self._able(result)
        if not able or not self.budget.limits_size:
            return able[0] if able else None
        best = _best(able, result)
        return next(name for name in able if not _is_worse(name, best, result))

    def outcomes(self, result: Comparison) -> dict[str, str]:
        """Why each other candidate is not the winner."""
        able, winner, found = self._able(result), self.winner(result), dict(self.out)
        for name in self.standing:
            if name == winner:
                continue
            if name not in able:
                found[name] = UNCERTAIN
            elif not self.budget.limits_size:
                found[name] = LESS_IS_ENOUGH
            else:
                best = _best(able, result)
                is_worse = _is_worse(name, best, result)
                found[name] = f"beaten by {best}" if is_worse else ALIKE
        return found

    def _able(self, result: Comparison) -> list[str]:
        """Those that are left and keep the limits of loss, the smallest first."""
        rows = {row.name: row for row in result.results}
        limits, n_texts = Limits(self.budget), len(result.texts)
        return [n for n in self.standing if limits.keeps(rows[n], n_texts, CERTAIN)]


def _best(names: Sequence[str], result: Comparison) -> str:
    """The candidate with the least KL divergence; of equal ones, the first."""
    rows = {row.name: row for row in result.results}
    return min(names, key=lambda name: rows[name].kld_mean)


def _is_worse(name: str, best: str, result: Comparison) -> bool:
    """Whether a candidate differs from the best one by more than chance."""
    return name != best and result.versus(name, best).kld_p_value < CERTAIN
