"""Which type one would take."""

from __future__ import annotations

from collections.abc import Sequence

from ..quantities import mib_as_text, with_error
from .measurement import Measurement
from .results import Comparison

__all__ = ["GOOD_ENOUGH", "smallest_good", "verdict"]

GOOD_ENOUGH = 0.01
"""The mean KL divergence that the verdict takes for small: one of 0.01 nats raises the
perplexity by about 1 %, if the base is right."""


def verdict(result: Comparison) -> list[str]:
    """The smallest type that loses little, and the next smaller one."""
    if not result.results:
        base = result.base
        ppl = with_error(base.ppl, base.ppl_error, 4)
        return [f"{base.name} has a perplexity of {ppl}"]
    by_size = sorted(result.results, key=lambda row: row.size_bytes)
    best = smallest_good(by_size)
    if best is None:
        return [f"no type has a KLD below {GOOD_ENOUGH}"]
    share = best.size_bytes / result.base.size_bytes
    said = [
        f"{best.name} is the smallest with a KLD below {GOOD_ENOUGH}: {_cost(best)}, "
        f"at {share:.0%} of the size of {result.base.name}"
    ]
    smaller = [row for row in by_size if row.size_bytes < best.size_bytes]
    if smaller:
        said.append(f"the next smaller, {smaller[-1].name}: {_cost(smaller[-1])}")
    return said


def smallest_good(rows: Sequence[Measurement]) -> Measurement | None:
    """The smallest row that loses little; None: there is none."""
    good = [row for row in rows if row.kld_mean < GOOD_ENOUGH]
    return min(good, key=lambda row: (row.size_bytes, row.kld_mean), default=None)


def _cost(row: Measurement) -> str:
    """The size, the divergence and the change of the perplexity."""
    change = 100 * (row.ppl_ratio - 1)
    return f"{mib_as_text(row.size_bytes)}, KLD {row.kld_mean:.4f}, PPL {change:+.1f} %"
