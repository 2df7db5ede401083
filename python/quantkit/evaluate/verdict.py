"""Which type one would take."""

from __future__ import annotations

import math

from ..quantities import mib_as_text
from .measurement import Measurement
from .results import Comparison

__all__ = ["verdict"]

GOOD_ENOUGH = 0.01
"""The mean KL divergence that the verdict takes for small: one of 0.01 nats raises the
perplexity by about 1 %, if the base is right."""


def verdict(result: Comparison) -> list[str]:
    """The smallest type that loses little, and the next smaller one."""
    if not result.results:
        base = result.base
        error = "" if math.isnan(base.ppl_error) else f" ± {base.ppl_error:.4f}"
        return [f"{base.name} has a perplexity of {base.ppl:.4f}{error}"]
    by_size = sorted(result.results, key=lambda row: row.size_bytes)
    good = [row for row in by_size if row.kld_mean < GOOD_ENOUGH]
    if not good:
        return [f"no type has a KLD below {GOOD_ENOUGH}"]
    best, share = good[0], good[0].size_bytes / result.base.size_bytes
    said = [
        f"{best.name} is the smallest with a KLD below {GOOD_ENOUGH}: {_cost(best)}, "
        f"at {share:.0%} of the size of {result.base.name}"
    ]
    smaller = [row for row in by_size if row.size_bytes < best.size_bytes]
    if smaller:
        said.append(f"the next smaller, {smaller[-1].name}: {_cost(smaller[-1])}")
    return said


def _cost(row: Measurement) -> str:
    """The size, the divergence and the change of the perplexity."""
    change = 100 * (row.ppl_ratio - 1)
    return f"{mib_as_text(row.size_bytes)}, KLD {row.kld_mean:.4f}, PPL {change:+.1f} %"
