"""The command `demo`."""

from __future__ import annotations

from textwrap import wrap

from ..evaluate import Comparison
from ..evaluate.measurement import Measurement
from ..quantities import mib_as_text
from ..tasks.demo import run_demo
from .bars import progress_bar
from .console import print_json, print_result, terminal_width
from .measured_output import measured_parts
from .options import Chunks, Json, Quiet, Threads

__all__ = ["demo_command", "verdict"]

GOOD_ENOUGH = 0.01
"""The mean KL divergence that the verdict takes for small: one of 0.01 nats raises the
perplexity by about 1 %, if the base is right."""


def demo_command(
    chunks: Chunks = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert, quantize and measure the embedded demo model."""
    with progress_bar(quiet) as progress:
        result = run_demo(chunks=chunks, threads=threads, progress=progress)
    if json:
        print_json(result.to_dict())
        return
    lines = [part for line in verdict(result) for part in wrap(line, terminal_width())]
    print_result(*measured_parts(result, result.cells()), "", *lines)


def verdict(result: Comparison) -> list[str]:
    """Which type one would take, and what to do next."""
    by_size = sorted(result.results, key=lambda row: row.size_bytes)
    good = [row for row in by_size if row.kld_mean < GOOD_ENOUGH]
    again = "on your model and text: quantkit ppl MODEL --text FILE --types all"
    if not good:
        return [f"verdict: no type has a KLD below {GOOD_ENOUGH}", again]
    best, share = good[0], good[0].size_bytes / result.base.size_bytes
    lines = [
        f"verdict: {best.name} is the smallest with a KLD below {GOOD_ENOUGH}: "
        f"{_cost(best)}, at {share:.0%} of the size of {result.base.name}"
    ]
    smaller = [row for row in by_size if row.size_bytes < best.size_bytes]
    if smaller:
        lines.append(f"the next smaller, {smaller[-1].name}: {_cost(smaller[-1])}")
    return [*lines, again]


def _cost(row: Measurement) -> str:
    """The size, the divergence and the change of the perplexity."""
    change = 100 * (row.ppl_ratio - 1)
    return f"{mib_as_text(row.size_bytes)}, KLD {row.kld_mean:.4f}, PPL {change:+.1f} %"
