"""Native matrix products next to NumPy's BLAS and what the instructions can do.

    python benchmarks/bench_matmul.py [--types Q4_0,Q4_K] > results/matmul.md

GOP/s of one thread, a multiplication and an addition counting as two: packing of the
activations and unpacking of the weights included.  Time is the thread's processor time,
so that other work on the machine counts less; the best of several runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
from measuring import machine

from quantkit._native import (
    Backend,
    Precision,
    backends,
    matmul,
    native_types,
    pack_activations,
    packing_for,
)
from quantkit.arrays import quantize_rows
from quantkit.types import QuantType

M = 512  # one chunk of text
SHAPES = [(2048, 2048), (1536, 576)]  # rows and columns of the weights
DISTINCT_ROWS = 64  # quantizing takes longer than multiplying: these are repeated


def best(run: Callable[[], object], seconds: float = 0.2, least: int = 3) -> float:
    """The least processor time of a run, of as many as take `seconds`."""
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        start = time.thread_time()
        run()
        taken.append(time.thread_time() - start)
    return min(taken)


def weights(type: QuantType, n_rows: int, n_cols: int) -> np.ndarray:
    """Random weights of a type: [n_rows, row bytes]."""
    x = np.random.default_rng(0).standard_normal((DISTINCT_ROWS, n_cols), np.float32)
    importance = np.ones(n_cols, np.float32) if type.is_quantized else None
    return np.tile(quantize_rows(x, type, importance), (n_rows // DISTINCT_ROWS, 1))


def speeds(
    backend: Backend, type: QuantType, x: np.ndarray, n_rows: int
) -> dict[Precision, float]:
    """GOP/s of a type in the precisions that differ."""
    data = weights(type, n_rows, x.shape[1])
    y = np.empty((len(x), n_rows), np.float32)
    found = {}
    for precision in Precision:
        packing = packing_for(type, precision)
        if precision is Precision.F32 or packing != packing_for(type, Precision.F32):
            seconds = best(
                lambda packing=packing: matmul(
                    pack_activations(x, packing, backend), data, type, y
                )
            )
            found[precision] = 2e-9 * y.size * x.shape[1] / seconds
    return found


def peaks() -> str:
    """What peak.c measures, or why it does not."""
    compiler = shutil.which("cc")
    if compiler is None or platform.machine().lower() not in ("x86_64", "amd64"):
        return "peaks: not measured (needs x86 and a C compiler)"
    source = Path(__file__).with_name("peak.c")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "peak")
        subprocess.run([compiler, "-O2", "-o", program, str(source)], check=True)
        lines = subprocess.run([program], capture_output=True, text=True, check=True)
    return "peaks: " + ", ".join(lines.stdout.splitlines())


def main() -> None:
    """A table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="names, with commas between; default: all")
    parser.add_argument("--backends", default="avx512,avx2,neon")
    arguments = parser.parse_args()
    names = arguments.types.split(",") if arguments.types else None
    usable = [b for b in backends() if b.usable and b.name in arguments.backends]
    print(f"{machine()}\n\n{peaks()}")
    for n_rows, n_cols in SHAPES:
        x = np.random.default_rng(1).standard_normal((M, n_cols), np.float32)
        w = np.random.default_rng(2).standard_normal((n_rows, n_cols), np.float32)
        blas = 2e-9 * M * n_rows * n_cols / best(lambda x=x, w=w: x @ w.T)
        columns = [f"{b.name} {p.name.lower()}" for b in usable for p in Precision]
        print(f"\n{M} x {n_cols} times {n_cols} x {n_rows}; NumPy's BLAS: {blas:.0f}\n")
        print(f"| type | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for type in QuantType:
            known = type in native_types() and n_cols % type.block_size == 0
            if known and (names is None or type.name in names):
                cells = []
                for backend in usable:
                    found = speeds(backend, type, x, n_rows)
                    cells += [
                        f"{found[p]:.0f}" if p in found else "" for p in Precision
                    ]
                print(f"| {type.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
