"""Speed of each type's quantizer and dequantizer on one thread, against libgguf.

    pip install '.[test]'
    python benchmarks/bench_quantize.py [--types Q4_K,Q6_K] [--output FILE.md]

libgguf packages ggml's own C quantizers.  It has none for F16 and BF16, where the gguf
package's NumPy conversions stand in.  Both run in this process, in turn, on the same
normally distributed rows of 4096 weights; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gguf
import libgguf
import numpy as np
from gguf import quants as gguf_quants

import quantkit
from quantkit._native import backends, native_types, needs_importance
from quantkit.arrays import dequantize_rows, quantize_rows
from quantkit.types import QuantType

COLS = 4096
ROWS = 256  # a slab of the file pipeline: 4 MiB of f32
SECONDS_PER_MEASUREMENT = 0.05


def medians(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each function, run in turn, each often enough to be timed."""
    calls = [calls_for(run) for run in runs]
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, n, taken in zip(runs, calls, seconds, strict=True):
            start = time.perf_counter()
            for _ in range(n):
                run()
            taken.append((time.perf_counter() - start) / n)
    return [statistics.median(s) for s in seconds]


def calls_for(run: Callable[[], object]) -> int:
    """How many calls take about SECONDS_PER_MEASUREMENT."""
    run()
    start = time.perf_counter()
    run()
    return max(1, int(SECONDS_PER_MEASUREMENT / (time.perf_counter() - start)))


def measure(
    kind: QuantType, task: str, x: np.ndarray, importance: np.ndarray, repeats: int
) -> str:
    """One Markdown row: Mweights/s of libgguf and of each backend with its ratio."""
    theirs = gguf.GGMLQuantizationType[kind.name]
    weights = None if task == "quantize" else importance
    usable = [b.name for b in backends() if b.usable]
    data = quantize_rows(x, kind, importance)

    def peer() -> object:
        if task == "dequantize":
            if kind.is_quantized:
                return libgguf.dequantize_rows(data, theirs)
            return gguf_quants.dequantize(data, theirs)
        if kind.is_quantized:
            return libgguf.quantize_rows(x, theirs, weights)
        return gguf_quants.quantize(x, theirs)

    def ours(backend: str) -> object:
        if task == "dequantize":
            return dequantize_rows(data, kind, COLS, backend=backend)
        return quantize_rows(x, kind, weights, backend=backend)

    base, *mine = medians([peer, *(partial(ours, b) for b in usable)], repeats)
    rate = x.size / 1e6
    cells = [f"{rate / s:.0f} ({base / s:.1f}x)" for s in mine]
    return f"| {kind.name} | {task} | {rate / base:.0f} | {' | '.join(cells)} |"


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
        and t is not QuantType.F32  # nothing to convert
        and (names is None or t.name in names)
    ]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, COLS), np.float32)
    importance = rng.random(COLS, np.float32) + np.float32(0.05)
    usable = [b.name for b in backends() if b.usable]
    lines = [
        machine(),
        "",
        f"Mweights/s on one thread, {ROWS} rows of {COLS}, median of {args.repeats}; "
        "in brackets the ratio to libgguf (of F16 and BF16 to gguf's NumPy).",
        "",
        f"| type | task | libgguf | {' | '.join(usable)} |",
        "|---" * (3 + len(usable)) + "|",
    ]
    for kind in kinds:
        for task in ("quantize", "quantize, importance", "dequantize"):
            if task == "quantize" and needs_importance(kind):
                continue
            if task == "quantize, importance" and not kind.is_quantized:
                continue
            lines.append(measure(kind, task, x, importance, args.repeats))
            print(lines[-1], file=sys.stderr)
    print("\n".join(lines))
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
