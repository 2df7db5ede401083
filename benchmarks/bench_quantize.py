"""Speed of each type's quantizer and dequantizer on one thread, against libgguf.

    pip install '.[test]'
    python benchmarks/bench_quantize.py [--types Q4_K,Q6_K] [--output FILE.md]

libgguf packages ggml's own C quantizers.  Both run in this process, in turn, on the
same normally distributed rows of 4096 weights; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import libgguf
import numpy as np

import quantkit
from quantkit._native import backends, native_types
from quantkit.arrays import dequantize_rows, quantize_rows
from quantkit.types import QuantType

COLS = 4096
SECONDS_PER_MEASUREMENT = 0.05


def medians(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each function, run in turn."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return [statistics.median(s) for s in seconds]


def rows_for(run: Callable[[int], object]) -> int:
    """How many rows take about SECONDS_PER_MEASUREMENT."""
    run(8)
    start = time.perf_counter()
    run(8)
    per_row = (time.perf_counter() - start) / 8
    return max(16, min(2048, int(SECONDS_PER_MEASUREMENT / per_row) // 16 * 16))


def measure(
    kind: QuantType, task: str, x: np.ndarray, importance: np.ndarray, repeats: int
) -> Iterator[str]:
    """One Markdown row: Mweights/s of libgguf and of each backend with its ratio."""
    theirs = gguf.GGMLQuantizationType[kind.name]
    weights = importance if task == "quantize, importance" else None
    usable = [b.name for b in backends() if b.usable]
    if task == "dequantize":
        data = quantize_rows(x, kind)

        def peer(n: int) -> object:
            return libgguf.dequantize_rows(data[:n], theirs)

        def ours(n: int, backend: str) -> object:
            return dequantize_rows(data[:n], kind, COLS, backend=backend)
    else:

        def peer(n: int) -> object:
            return libgguf.quantize_rows(x[:n], theirs, weights)

        def ours(n: int, backend: str) -> object:
            return quantize_rows(x[:n], kind, weights, backend=backend)

    n = rows_for(peer)
    runs: list[Callable[[], object]] = [lambda: peer(n)]
    runs += [lambda b=b: ours(n, b) for b in usable]  # type: ignore[misc]
    base, *mine = medians(runs, repeats)
    rate = n * COLS / 1e6
    cells = [f"{rate / s:.0f} ({base / s:.1f}x)" for s in mine]
    yield f"| {kind.name} | {task} | {rate / base:.0f} | {' | '.join(cells)} |"


def machine() -> str:
    """Commit, processor and versions, for the head of the table."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next(s.split(":")[1].strip() for s in lines if "model name" in s)
    return (
        f"quantkit {quantkit.__version__} ({commit}), libgguf "
        f"{libgguf.__dict__.get('__version__', '0.2.2')}, {model}, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="comma-separated names (default: all)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    names = args.types.split(",") if args.types else None
    kinds = [
        t
        for t in QuantType
        if t in native_types()
        and t.is_quantized  # libgguf has no dequantizer for plain floats
        and (names is None or t.name in names)
    ]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2048, COLS), np.float32)
    importance = rng.random(COLS, np.float32) + np.float32(0.05)
    usable = [b.name for b in backends() if b.usable]
    lines = [
        machine(),
        "",
        f"Mweights/s on one thread, rows of {COLS}, median of {args.repeats}; "
        "in brackets the ratio to libgguf.",
        "",
        f"| type | task | libgguf | {' | '.join(usable)} |",
        "|---" * (3 + len(usable)) + "|",
    ]
    for kind in kinds:
        tasks = ["quantize", "dequantize"]
        if kind is not QuantType.Q8_0:
            tasks.insert(1, "quantize, importance")
        for task in tasks:
            lines += measure(kind, task, x, importance, args.repeats)
            print(lines[-1], file=sys.stderr)
    print("\n".join(lines))
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
