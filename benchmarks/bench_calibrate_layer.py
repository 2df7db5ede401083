"""What calibrated rounding takes for the matrices of a layer of a large Llama.

    python benchmarks/bench_calibrate_layer.py --output FILE.md
        [--width 4096] [--inner 11008] [--tokens 4096] [--rows 256] [--type Q4_0]

The matrices have `--width` inputs (q, k, v, o, gate, up) or `--inner` (down).  For each
of the two, on random inputs and BF16 weights: the product of one sequence with as many
rows as the model is wide, all rows of the sum over one batch of tokens, both plans that
`choose` makes, with all that it has in memory then, and the solver on some rows.  One
thread, processor time; of products and sums the median of some runs, since a
calibration repeats them.  The peak is that of a multiplication and an addition, one
after the other, on registers alone (peak.c), measured before and after.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from measuring import machine, publish
from products import peaks

from quantkit._native import active_backend, solve_rows
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.calibrating.choosing import DAMPINGS
from quantkit.calibrating.sample import HELD_OUT
from quantkit.calibrating.site import mirrored
from quantkit.calibrating.solving import plan_of
from quantkit.calibrating.sums import Rows, Sums, add_rows
from quantkit.execution.allocation import keep_freed_memory
from quantkit.execution.workers import Threads
from quantkit.inference.weights import TypedMatrix
from quantkit.types import QuantType

T = TypeVar("T")

REGISTERS = {"avx512": "zmm", "avx2": "ymm"}
TEXT_TOKENS = 131072
SEQUENCE = 512
REPEATS = 5
"""Of products and sums, which a calibration repeats for each batch of its text."""

PRODUCTS = 1 + 3 / HELD_OUT
"""How often a matrix is multiplied by the text, in the effort "fast"."""

MODELS = {
    "1B": (2048, 8192, 512, 16),
    "3B": (3072, 8192, 1024, 28),
    "7B": (4096, 11008, 4096, 32),
    "70B": (8192, 28672, 1024, 80),
}
"""Width, inner width, rows of k and of v, and layers of Llamas."""


@dataclass(frozen=True)
class Speeds:
    """Operations per second for matrices with n inputs; the most bytes resident."""

    n: int
    forward: float
    sums: float
    plan: float
    solve: float
    peak_bytes: int

    def seconds(self, n: int, rows: int) -> dict[str, float]:
        """Of a site with n inputs, whose matrices have so many rows in all."""
        return {
            "forward": PRODUCTS * 2 * rows * n * TEXT_TOKENS / self.forward,
            "sums": n**2 * TEXT_TOKENS / self.sums,
            "plans": len(DAMPINGS) * n**3 / 3 / self.plan,
            "solve": rows * n**2 / self.solve,
        }


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds of a run, and what it gives."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def usual(run: Callable[[], object]) -> float:
    """The median processor seconds of runs, after one that is not counted."""
    return statistics.median([timed(run)[0] for _ in range(1 + REPEATS)][1:])


def resident() -> int:
    """The most bytes that this process has had resident."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024)


def measure(n: int, width: int, tokens: int, n_rows: int, type: QuantType) -> Speeds:
    """Run each phase for matrices with n inputs."""
    rng, one = np.random.default_rng(0), Threads(1)
    x = rng.standard_normal((tokens, n), np.float32)
    some = rng.standard_normal((n_rows, n), np.float32)
    repeats = -(-width // n_rows)
    data = np.tile(quantize_rows(some, QuantType.BF16), (repeats, 1))[:width]
    matrix, sums = TypedMatrix(data, QuantType.BF16, n), Sums(n)
    product = partial(matrix.apply, x[:SEQUENCE])
    forward = usual(product)
    summed = usual(partial(add_rows, [(sums, Rows(x, x))], one))
    h = mirrored(sums.squares)
    space = np.empty_like(h)
    made = [timed(partial(plan_of, h, type, d, one, space)) for d in DAMPINGS]
    weights = dequantize_rows(data[:n_rows], QuantType.BF16, n)
    plan, _ = made[0][1]
    solved, _ = timed(lambda: solve_rows(plan, weights))
    return Speeds(
        n,
        2 * SEQUENCE * width * n / forward,
        n**2 * tokens / summed,
        len(DAMPINGS) * n**3 / 3 / sum(seconds for seconds, _ in made),
        n_rows * n**2 / solved,
        resident(),
    )


def measured_rows(found: list[Speeds], most: list[float]) -> list[str]:
    """The table of what was measured; `most`: GOP/s in f32 and f64."""
    lines = [
        "| inputs | forward | sums | factor and plan | solve | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        speeds = each.forward, each.sums, each.plan, each.solve
        limits = most[0], most[0], most[1], most[0]
        cells = [
            f"{s * 1e-9:.1f} ({s * 1e-9 / limit:.0%})"
            for s, limit in zip(speeds, limits, strict=True)
        ]
        memory = f"{each.peak_bytes / 1e9:.2f} GB"
        lines.append(f"| {each.n} | {' | '.join(cells)} | {memory} |")
    return lines


def extrapolated(found: list[Speeds]) -> list[str]:
    """The table of what follows for whole models."""
    narrow, wide = found
    lines = [
        "| model | forward | sums | factor and plan | solve | hours |",
        "|---|---|---|---|---|---|",
    ]
    for name, (width, inner, kv, n_layers) in MODELS.items():
        sites = [
            narrow.seconds(width, width + 2 * kv),
            narrow.seconds(width, width),
            narrow.seconds(width, 2 * inner),
            wide.seconds(inner, width),
        ]
        hours = [n_layers * sum(s[k] for s in sites) / 3600 for k in sites[0]]
        cells = [f"{h / sum(hours):.0%}" for h in hours]
        lines.append(f"| {name} | {' | '.join(cells)} | {sum(hours):.2f} |")
    return lines


def main() -> None:
    """Measure, and publish both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=11008)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    t = REGISTERS.get(active_backend().name)
    before = peaks()
    if t is None or not before:
        sys.exit("the peak can only be measured on x86 with AVX2 and a C compiler")
    type = QuantType[args.type]
    keep_freed_memory()  # as every model that is loaded
    found = [
        measure(n, args.width, args.tokens, args.rows, type)
        for n in (args.width, args.inner)
    ]
    after = peaks()
    most = [
        max(p[f"vmul{s}+vadd{s}-{t}"] for p in (before, after)) for s in ("ps", "pd")
    ]
    lines = [
        machine(),
        "",
        f"`python benchmarks/bench_calibrate_layer.py --width {args.width} "
        f"--inner {args.inner} --tokens {args.tokens} --rows {args.rows} "
        f"--type {args.type}`",
        "",
        f"Measured: GOP/s of one thread ({active_backend().name}), a multiplication "
        "and an addition counting as two, and the share of the peak: "
        f"{most[0]:.0f} (f32) and {most[1]:.0f} (f64, of factors). Products with "
        f"{args.width} rows for {SEQUENCE} tokens, sums over {args.tokens} tokens, "
        f"{args.rows} rows solved. Memory is the most so far in the "
        "process: inputs, the sum, its copy that is factored, and two plans.",
        "",
        *measured_rows(found, most),
        "",
        "Extrapolated from these speeds, not measured: hours of one core for the "
        f"layers of a Llama on {TEXT_TOKENS} tokens, effort fast, and each phase's "
        "share. Without attention, norms, the weights of the first position, plain "
        "rounding, rows on which settings are tried, reading files, and the head.",
        "",
        *extrapolated(found),
    ]
    publish(lines, args.output)


if __name__ == "__main__":
    main()
