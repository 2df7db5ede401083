"""Sums over tokens, factors and solving, next to the most that the instructions allow.

    python benchmarks/bench_algebra.py --output benchmarks/results/calibrate_algebra.md

GOP/s of one thread, a multiplication and an addition counting as two.  The peak is that
of the same two instructions, one after the other, on registers alone (peak.c), measured
before and after.  Time is the process's processor time; the best of several runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
from measuring import machine, publish
from products import peaks

from quantkit._native import (
    ENVIRONMENT_VARIABLE,
    Backend,
    backends,
    gram,
    solve_factored,
)
from quantkit.calibrating.factoring import factor
from quantkit.execution.workers import Threads

SIZES = (576, 1536, 4096, 8192)
TOKENS = 1024
ROWS = 256
"""Rows of a piece of the sums, and right-hand sides."""
REGISTERS = {"avx512": "zmm", "avx2": "ymm"}


def seconds(
    run: Callable[[], object], prepare: Callable[[], object], least: float
) -> float:
    """The least processor time of a run, of as many as take `least` seconds."""
    taken: list[float] = []
    while sum(taken) < least:
        prepare()
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def speeds(n: int, least: float) -> list[float]:
    """GOP/s of sums, of a factor and of solving with it, for n inputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((TOKENS, n), np.float32)
    h = rng.standard_normal((n, n))
    h[np.diag_indices(n)] = 8 * n
    r, b = np.empty_like(h), rng.standard_normal((n, ROWS))
    y = np.empty_like(b)
    rows = min(ROWS, n)
    summed = seconds(partial(gram, x, x, 0, rows), lambda: None, least)
    made = seconds(partial(factor, r, Threads(1)), partial(np.copyto, r, h), least)
    solved = seconds(partial(solve_factored, r, y), partial(np.copyto, y, b), least)
    return [
        2e-9 * TOKENS * rows * n / summed,
        1e-9 * n**3 / 3 / made,
        2e-9 * n**2 * ROWS / solved,
    ]


def table(backend: Backend, sizes: Sequence[int], least: float) -> list[str]:
    """The lines of a backend's table."""
    os.environ[ENVIRONMENT_VARIABLE] = backend.name
    before = peaks()
    found = {n: speeds(n, least) for n in sizes}
    after = peaks()
    names = [f"vmul{t}+vadd{t}-{REGISTERS[backend.name]}" for t in ("ps", "pd", "pd")]
    most = [max(before[name], after[name]) for name in names]
    lines = [
        f"{backend.name}: peaks {most[0]:.0f} (f32) and {most[1]:.0f} (f64)",
        "",
        "| inputs | sums (f32) | of peak | factor (f64) | of peak | solving (f64) "
        "| of peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for n, measured in found.items():
        cells = (f"{v:.1f} | {v / p:.0%}" for v, p in zip(measured, most, strict=True))
        lines.append(f"| {n} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    """A table for each backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--backends", default="avx512,avx2")
    parser.add_argument("--least", type=float, default=1.0, help="seconds to repeat")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sizes = [int(n) for n in arguments.sizes.split(",")]
    lines = [
        machine(),
        "",
        f"`python benchmarks/bench_algebra.py --sizes {arguments.sizes} --backends "
        f"{arguments.backends} --least {arguments.least:g}`",
        "",
        f"GOP/s of one thread: {ROWS} rows of sums over {TOKENS} tokens, the whole "
        f"factor, {ROWS} right-hand sides.",
        "",
    ]
    for backend in backends():
        if backend.usable and backend.name in arguments.backends.split(","):
            lines += table(backend, sizes, arguments.least)
    publish(lines[:-1], arguments.output)


if __name__ == "__main__":
    main()
