"""Speed of each type's quantizer and dequantizer on a CUDA device.

    pip install . -C cmake.define.QUANTKIT_CUDA=ON
    python benchmarks/bench_cuda.py [--types Q4_K,Q6_K] [--rows N] [--output FILE.md]

Rows of 4096 normally distributed weights are in device memory, and so are results.  A
measurement queues as many calls as take about a fifth of a second and waits for them.
"memory" is the share of the device's bandwidth that the bytes read and written would
need, each once; the bandwidth is that of a copy within the device, in the same run.
"host" is `qkc_quantize_host`: rows of main memory through pinned buffers, and back.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, publish

from quantkit import _device
from quantkit._native import native_types, needs_importance, uses_importance
from quantkit.types import QuantType

COLS = 4096
DRAWN = 1024
"""Rows that differ; all others repeat them."""
SECONDS_PER_MEASUREMENT = 0.2
REPEATS = 5


class Device:
    """The CUDA library, and the arrays of the benchmark on the current device."""

    def __init__(self, n_rows: int) -> None:
        own = _device.library()
        self.ffi, self.lib = own.ffi, own.lib
        self.n_rows = n_rows
        rng = np.random.default_rng(0)
        self.drawn = rng.standard_normal((min(DRAWN, n_rows), COLS), np.float32)
        self.weights = rng.random(COLS, np.float32) + np.float32(0.05)
        self.x = self.memory("float", n_rows * COLS * 4)
        for row in range(0, n_rows, DRAWN):
            n_bytes = min(DRAWN, n_rows - row) * COLS * 4
            self.copy(self.x + row * COLS, self.pointer(self.drawn), n_bytes)
        self.importance = self.memory("float", COLS * 4)
        self.copy(self.importance, self.pointer(self.weights), COLS * 4)
        self.floats = self.memory("float", n_rows * COLS * 4)
        self.bytes = self.memory("uint8_t", n_rows * COLS * 4)
        self.bad = self.memory("int64_t", 16)
        self.scratch = self.memory("char", n_rows * 4)

    def check(self, status: int) -> None:
        """Stop on an error, with its text."""
        if status:
            sys.exit(self.ffi.string(self.lib.qkc_error_text(status)).decode())

    def memory(self, kind: str, n_bytes: int) -> Any:
        """Memory of the device, as items of a kind."""
        made = self.ffi.new("void **")
        self.check(self.lib.qkc_malloc(n_bytes, made))
        return self.ffi.cast(f"{kind} *", made[0])

    def pointer(self, array: np.ndarray) -> Any:
        """To an array of main memory."""
        return self.ffi.from_buffer(array)

    def wait(self) -> None:
        """Until all that is queued is done."""
        self.check(self.lib.qkc_synchronize(self.ffi.NULL))

    def copy(self, to: Any, source: Any, n_bytes: int) -> None:
        """Copy memory, and wait."""
        self.check(self.lib.qkc_copy(to, source, n_bytes, self.ffi.NULL))
        self.wait()

    def seconds(self, call: Callable[[], int]) -> float:
        """Median seconds of a call that is queued on the default stream."""
        n, taken = 1, 0.0
        while taken < SECONDS_PER_MEASUREMENT:
            n = max(n * 2, int(n * SECONDS_PER_MEASUREMENT / max(taken, 1e-4)))
            taken = self._timed(call, n)
        return statistics.median(self._timed(call, n) / n for _ in range(REPEATS))

    def _timed(self, call: Callable[[], int], n: int) -> float:
        self.wait()
        start = time.perf_counter()
        for _ in range(n):
            self.check(call())
        self.wait()
        return time.perf_counter() - start

    def name(self) -> str:
        """Of the device."""
        what = self.ffi.new("qkc_device *")
        self.check(self.lib.qkc_describe_device(0, what))
        name = self.ffi.string(what.name).decode()
        return f"{name} (compute capability {what.major}.{what.minor})"

    def bandwidth(self) -> float:
        """Bytes per second of a copy, read and written."""
        n_bytes = self.n_rows * COLS * 4
        copy = self.lib.qkc_copy
        taken = self.seconds(lambda: copy(self.floats, self.x, n_bytes, self.ffi.NULL))
        return 2 * n_bytes / taken

    def quantize(self, kind: QuantType, is_weighted: bool) -> float:
        """Seconds of all rows."""
        importance = self.importance if is_weighted else self.ffi.NULL
        rest = (self.scratch, self.n_rows * 4, self.ffi.NULL)
        sizes = (self.n_rows, COLS, self.bytes, self.bad)
        return self.seconds(
            lambda: self.lib.qkc_quantize(kind.id, self.x, importance, *sizes, *rest)
        )

    def dequantize(self, kind: QuantType, to: QuantType) -> float:
        """Seconds of the rows that were quantized last."""
        target = (to.id, self.floats, self.ffi.NULL)
        given = (kind.id, self.bytes, self.n_rows, COLS)
        return self.seconds(lambda: self.lib.qkc_dequantize(*given, *target))

    def host(self, kind: QuantType, is_weighted: bool) -> float:
        """Seconds of the rows that differ, from main memory and back."""
        made, bad = self.ffi.new("qkc_pipe **"), self.ffi.new("int64_t *")
        n_rows = len(self.drawn)
        out = np.zeros((n_rows, kind.row_bytes(COLS)), np.uint8)
        floats = [self.pointer(a) for a in (self.drawn, self.weights)]
        x, weights = (self.ffi.cast("float *", p) for p in floats)
        importance = weights if is_weighted else self.ffi.NULL
        self.check(self.lib.qkc_pipe_open(0, made))
        rest = (n_rows, COLS, self.pointer(out), bad)
        taken = self.seconds(
            lambda: self.lib.qkc_quantize_host(made[0], kind.id, x, importance, *rest)
        )
        self.check(self.lib.qkc_pipe_close(made[0]))
        return taken


def row(device: Device, kind: QuantType, task: str, bandwidth: float) -> str:
    """One Markdown row."""
    n = device.n_rows * COLS
    written = device.n_rows * kind.row_bytes(COLS)
    host = "-"
    if task.startswith("dequantize"):
        to = QuantType[task.removeprefix("dequantize to ")]
        seconds = device.dequantize(kind, to)
        n_bytes = written + device.n_rows * to.row_bytes(COLS)
    else:
        is_weighted = task != "quantize"
        seconds = device.quantize(kind, is_weighted)
        n_bytes = written + 4 * n
        n_host = len(device.drawn) * COLS
        host = f"{n_host / device.host(kind, is_weighted) / 1e9:.2f}"
    share = n_bytes / seconds / bandwidth
    return f"| {kind.name} | {task} | {n / seconds / 1e9:.2f} | {share:.0%} | {host} |"


def tasks(kind: QuantType) -> list[str]:
    """What is measured of a type: dequantizing reads what was quantized before."""
    found = [] if needs_importance(kind) else ["quantize"]
    found += ["quantize, importance"] if uses_importance(kind) else []
    return [*found, "dequantize to F32", "dequantize to F16"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="comma-separated names (default: all)")
    parser.add_argument("--rows", type=int, default=32768)
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    names = args.types.split(",") if args.types else None
    device = Device(args.rows)
    bandwidth = device.bandwidth()
    lines = [
        f"{machine()}, {device.name()}",
        "",
        f"Gweights/s, {args.rows} rows of {COLS} in device memory, median of "
        f"{REPEATS}; a copy within the device moves {bandwidth / 1e9:.0f} GB/s, read "
        "and written.",
        "",
        "| type | task | Gweights/s | memory | host |",
        "|---|---|---|---|---|",
    ]
    for kind in (t for t in QuantType if t in native_types()):
        for task in tasks(kind) if names is None or kind.name in names else []:
            lines.append(row(device, kind, task, bandwidth))
            print(lines[-1], file=sys.stderr)
    publish(lines, args.output)


if __name__ == "__main__":
    main()
