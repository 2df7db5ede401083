"""Calibrated rounding on a CUDA device beside all cores of the processor.

    pip install . -C cmake.define.QUANTKIT_CUDA=ON
    python benchmarks/bench_cuda_calibrate.py [--types Q4_K,Q6_K] [--cols 4096]
        [--rows 4096] [--output FILE.md]

For each type rows of normally distributed weights are solved, on the device and on the
processor in turn, and the bytes must be equal; the processor has a share of the rows.
Then the inputs of 4096 tokens are summed.  Arrays are in main memory before and after,
as in a calibration, and times are wall times with all copies.  The device has taken a
few rows before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import machine, publish

from quantkit._device import DeviceSums, devices
from quantkit._native import Plan, native_types, solver_layout
from quantkit.calibrating.solving import plan_of, solved
from quantkit.calibrating.sums import Rows, Sums, add_rows
from quantkit.execution.carried import Carried
from quantkit.execution.workers import Workers, workers_of
from quantkit.types import QuantType

DEVICE = 0
REPEATS = 3
SHARE = 8
"""The processor solves so many times fewer rows."""
TOKENS = 4096
WARM = 64
"""Rows that the device solves before it is measured."""


def seconds(run: Callable[[], object]) -> float:
    """Of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def quadratic(n: int) -> np.ndarray:
    """An H of inputs that move together."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((n // 4, n)) * np.exp(rng.standard_normal(n))
    h: np.ndarray = mix.T @ mix / n
    h = h + 0.1 * np.trace(h) / n * np.eye(n)
    return h


def solving(made: Plan, x: np.ndarray, all_cores: Workers) -> tuple[float, float]:
    """Weights per second of the device and of the processor."""
    plan = Carried(made)
    few = x[: len(x) // SHARE]
    solved(plan, x[:WARM], all_cores, DEVICE)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        times[0].append(seconds(lambda: solved(plan, x, all_cores, DEVICE)))
        times[1].append(seconds(lambda: solved(plan, few, all_cores)))
    found = solved(plan, few, all_cores, DEVICE)
    if found.tobytes() != solved(plan, few, all_cores).tobytes():
        sys.exit(f"{made.type.name}: the bytes of the device are others")
    medians = [statistics.median(each) for each in times]
    return x.size / medians[0], few.size / medians[1]


def summing(n: int, all_cores: Workers) -> tuple[float, float]:
    """Multiplications and additions per second, of which half are needed."""
    x = np.random.default_rng(1).standard_normal((TOKENS, n), np.float32)
    times: tuple[list[float], list[float]] = ([], [])
    sums = Sums(n), Sums(n)
    with DeviceSums(DEVICE) as device:
        for _ in range(REPEATS + 1):
            times[0].append(
                seconds(lambda: add_rows([(sums[0], Rows(x, x))], all_cores, device))
            )
            times[1].append(
                seconds(lambda: add_rows([(sums[1], Rows(x, x))], all_cores))
            )
        device.finish()
    if np.triu(sums[0].squares).tobytes() != np.triu(sums[1].squares).tobytes():
        sys.exit("the sums of the device are others")
    operations = n * (n + 1) / 2 * TOKENS
    there, here = (operations / statistics.median(each[1:]) for each in times)
    return there, here


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="comma-separated names (default: all)")
    parser.add_argument("--cols", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    names = args.types.split(",") if args.types else None
    all_cores, h = workers_of(None), quadratic(args.cols)
    x = np.random.default_rng(2).standard_normal((args.rows, args.cols), np.float32)
    lines = [
        f"{machine()}, {devices()[DEVICE].model}, {all_cores.count} threads",
        "",
        f"Rows of {args.cols} weights, {args.rows} of them on the device; medians of "
        f"{REPEATS}.",
        "",
        "| task | device | processor | ratio |",
        "|---|---|---|---|",
    ]
    wanted = [t for t in QuantType if t in native_types() and solver_layout(t)]
    for type in wanted:
        if names is None or type.name in names:
            plan, _ = plan_of(h, type, 0.01, all_cores)
            there, here = solving(plan, x, all_cores)
            rates = f"{there / 1e6:.1f} Mweights/s | {here / 1e6:.2f} Mweights/s"
            lines.append(f"| {type.name} | {rates} | {there / here:.1f} |")
            print(lines[-1], file=sys.stderr)
    there, here = summing(args.cols, all_cores)
    rates = f"{there / 1e9:.0f} G/s | {here / 1e9:.1f} G/s"
    lines.append(f"| sums | {rates} | {there / here:.1f} |")
    publish(lines, args.output)


if __name__ == "__main__":
    main()
