"""Recurrent layers: the time of their operations, next to that of their matrices.

    python benchmarks/bench_recurrent.py > benchmarks/results/recurrent.md

Each layer is one of a published model: its recurrent operation and its convolution on
one chunk of text, and its matrices with Q4_K weights in the default precision.  Time is
the thread's processor time; the best of several runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
from measuring import machine
from products import M, best, product_speed

from quantkit._native import ENVIRONMENT_VARIABLE, Backend, Precision, backends
from quantkit.forward import recurrent_ops as ops
from quantkit.forward.recurrent_ops import l2_norm, softplus
from quantkit.types import QuantType

RNG = np.random.default_rng(0)
TYPE = QuantType.Q4_K


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers in f32."""
    return RNG.standard_normal(shape, np.float32)


def delta(heads: int, key_heads: int, *, by_component: bool) -> Callable[[], object]:
    """The gated delta rule with keys and values of 128."""
    q, k = (l2_norm(normal(M, key_heads, 128), 1e-6) for _ in range(2))
    shape = (M, heads, 128) if by_component else (M, heads)
    decay = -np.exp(RNG.uniform(-7, 1, shape)).astype(np.float32)
    beta = RNG.random((M, heads), np.float32)
    return partial(ops.gated_delta, q, k, normal(M, heads, 128), decay, beta, 128**-0.5)


def space(heads: int, groups: int, size: int, states: int) -> Callable[[], object]:
    """Mamba-2's scan."""
    b, c = (normal(M, groups, states) for _ in range(2))
    dt, a = softplus(normal(M, heads)), -np.exp(normal(heads))
    return partial(ops.state_space, normal(M, heads, size), dt, a, b, c, normal(heads))


def scan(channels: int, states: int) -> Callable[[], object]:
    """Mamba's scan."""
    dt, a = softplus(normal(M, channels)), -np.exp(normal(channels, states))
    b, c = (normal(M, states) for _ in range(2))
    return partial(
        ops.selective_scan, normal(M, channels), dt, a, b, c, normal(channels)
    )


@dataclass(frozen=True)
class Recurrent:
    """A layer: what is measured of it.

    Attributes:
        name: the model.
        make: the recurrent operation.
        convolved: channels and taps of its convolutions, together.
        matrices: rows and columns of its matrices, with those of the feed forward.
    """

    name: str
    make: Callable[[], Callable[[], object]]
    convolved: tuple[int, int]
    matrices: list[tuple[int, int]]


LAYERS = [
    Recurrent(
        "Qwen3.5 2B: delta rule, 16 heads of 128",
        partial(delta, 16, 16, by_component=False),
        (6144, 4),
        [*[(6144, 2048)] * 3, *[(2048, 2048)] * 2, (2048, 6144)],
    ),
    Recurrent(
        "Qwen3-Next 80B-A3B: delta rule, 32 heads of 128, 11 experts of 512",
        partial(delta, 32, 16, by_component=False),
        (8192, 4),
        [(8192, 2048), (4096, 2048), (2048, 4096), *[(512, 2048)] * 22]
        + [(2048, 512)] * 11,
    ),
    Recurrent(
        "Kimi Linear 48B-A3B: delta rule by component, 32 heads of 128, 9 experts",
        partial(delta, 32, 32, by_component=True),
        (12288, 4),
        [(12288, 2304), (2304, 4096), *[(1024, 2304)] * 18, *[(2304, 1024)] * 9],
    ),
    Recurrent(
        "Nemotron-H 8B: Mamba-2, 128 heads of 64, 8 groups of 128 states",
        partial(space, 128, 8, 64, 128),
        (10240, 4),
        [(18560, 4096), (4096, 8192)],
    ),
    Recurrent(
        "Falcon-Mamba 7B: Mamba, 8192 channels of 16 states",
        partial(scan, 8192, 16),
        (8192, 4),
        [(16384, 4096), (288, 8192), (8192, 256), (4096, 8192)],
    ),
]


def row(layer: Recurrent, backend: Backend) -> str:
    """A line of the table."""
    channels, taps = layer.convolved
    of_state = 1e3 * best(layer.make())
    x, weight = normal(M, channels), normal(channels, taps)
    convolved = 1e3 * best(partial(ops.short_convolution, x, weight))
    shapes = {(TYPE, *shape): layer.matrices.count(shape) for shape in layer.matrices}
    operations = sum(2 * M * rows * cols for rows, cols in layer.matrices)
    multiplied = 1e-6 * operations / product_speed(backend, shapes, Precision.I16)
    total = of_state + convolved + multiplied
    share = 100 * (of_state + convolved) / total
    cells = f"{of_state:.1f} | {convolved:.1f} | {multiplied:.1f} | {share:.0f} %"
    return f"| {layer.name} | {cells} |"


def main() -> None:
    """A table for each backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="avx512,avx2,neon")
    names = parser.parse_args().backends.split(",")
    print(f"{machine()}\n\n    python {shlex.join(sys.argv)}\n")
    print(f"Milliseconds of one thread for {M} positions.")
    for backend in (b for b in backends() if b.usable and b.name in names):
        os.environ[ENVIRONMENT_VARIABLE] = backend.name
        print(f"\n{backend.name} ({backend.ops})\n")
        print("| layer | state | convolution | matrices | share |")
        print("|---|---|---|---|---|")
        for layer in LAYERS:
            print(row(layer, backend), flush=True)


if __name__ == "__main__":
    main()
