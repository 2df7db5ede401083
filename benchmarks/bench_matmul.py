"""Native matrix products next to NumPy's BLAS and what the instructions can do.

    python benchmarks/bench_matmul.py [--types Q4_0,Q4_K] > results/matmul.md

GOP/s of one thread, a multiplication and an addition counting as two: packing of the
activations and unpacking of the weights included.  Time is the thread's processor time,
so that other work on the machine counts less; the best of several runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from functools import partial

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
from measuring import machine
from products import M, best, peaks, product_speed

from quantkit._native import Backend, Precision, backends, native_types, packing_for
from quantkit.types import QuantType

SHAPES = [(2048, 2048), (1536, 576)]  # rows and columns of the weights


def cell(
    backend: Backend, type: QuantType, shape: tuple[int, int], precision: Precision
) -> str:
    """GOP/s of a type; empty for a precision that is f32 for it."""
    is_other = packing_for(type, precision) != packing_for(type, Precision.F32)
    if precision is not Precision.F32 and not is_other:
        return ""
    return f"{product_speed(backend, {(type, *shape): 1}, precision):.0f}"


def main() -> None:
    """A table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="names, with commas between; default: all")
    parser.add_argument("--backends", default="avx512,avx2,neon")
    arguments = parser.parse_args()
    names = arguments.types.split(",") if arguments.types else None
    usable = [b for b in backends() if b.usable and b.name in arguments.backends]
    found = ", ".join(f"{name} {speed:.0f}" for name, speed in peaks().items())
    print(f"{machine()}\n\n    python {shlex.join(sys.argv)}\n\nGOP/s of one thread;")
    print(f"peaks: {found or 'not measured (x86 with a C compiler)'}")
    for shape in SHAPES:
        n_rows, n_cols = shape
        x = np.random.default_rng(1).standard_normal((M, n_cols), np.float32)
        w = np.random.default_rng(2).standard_normal((n_rows, n_cols), np.float32)
        blas = 2e-9 * M * n_rows * n_cols / best(partial(np.matmul, x, w.T))
        columns = [f"{b.name} {p.name.lower()}" for b in usable for p in Precision]
        print(f"\n{M} x {n_cols} times {n_cols} x {n_rows}; NumPy's BLAS: {blas:.0f}\n")
        print(f"| type | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for type in QuantType:
            known = type in native_types() and n_cols % type.block_size == 0
            if known and (names is None or type.name in names):
                cells = [cell(b, type, shape, p) for b in usable for p in Precision]
                print(f"| {type.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
