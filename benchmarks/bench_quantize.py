"""Speed of each type's quantizer and dequantizer on one thread, against libgguf.

    pip install '.[test]'
    python benchmarks/bench_quantize.py [--types Q4_K,Q6_K] [--output FILE.md]
        [--ggml .../llama_cpp/lib/libggml-base.so]

libgguf packages ggml's own C quantizers.  It has none for F16 and BF16, where the gguf
package's NumPy conversions stand in.  `--ggml` adds a build of your own, such as the
one in llama-cpp-python, which the compiler may have fitted to this processor.  All run
in this process, in turn, on the same normally distributed rows of 4096 weights, on one
thread (libgguf takes one per core unless it is told); the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

os.environ["LIBGGUF_NUM_THREADS"] = "1"  # read when libgguf is imported

import gguf
import libgguf
import numpy as np
from gguf import quants as gguf_quants
from measuring import machine, publish

from quantkit._native import backends, native_types, needs_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
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


class Ggml:
    """ggml's C quantizers in a shared library, such as llama-cpp-python builds."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.ggml_quantize_chunk.restype = ctypes.c_size_t

    def quantize(
        self, x: np.ndarray, kind: QuantType, weights: np.ndarray | None
    ) -> None:
        """Quantize rows with `ggml_quantize_chunk`."""
        out = np.empty(len(x) * kind.row_bytes(COLS), np.uint8)
        self._library.ggml_quantize_chunk(
            kind.id,
            _pointer(x),
            _pointer(out),
            *map(ctypes.c_int64, (0, len(x), COLS)),
            None if weights is None else _pointer(weights),
        )

    def dequantize(self, data: np.ndarray, kind: QuantType) -> None:
        """Dequantize rows with `dequantize_row_<type>`."""
        name = kind.name.lower().replace("_k", "_K")
        out = np.empty((len(data), COLS), np.float32)
        function = getattr(self._library, f"dequantize_row_{name}")
        function(_pointer(data), _pointer(out), ctypes.c_int64(out.size))


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def measure(
    kind: QuantType,
    task: str,
    x: np.ndarray,
    importance: np.ndarray,
    repeats: int,
    ggml: Ggml | None,
) -> str:
    """One Markdown row: Mweights/s of the peers, and of each backend with its ratio."""
    weights = None if task == "quantize" else importance
    usable = [b.name for b in backends() if b.usable]
    data = quantize_rows(x, kind, importance)
    is_back = task == "dequantize"

    def ours(backend: str) -> object:
        if is_back:
            return dequantize_rows(data, kind, COLS, backend=backend)
        return quantize_rows(x, kind, weights, backend=backend)

    peers = [package(kind, x, weights, data if is_back else None)]
    if ggml is not None and kind.is_quantized:
        native = partial(ggml.dequantize, data, kind)
        peers.append(native if is_back else partial(ggml.quantize, x, kind, weights))
    elif ggml is not None:
        peers.append(None)
    able = [peer for peer in peers if peer is not None]
    times = medians([*able, *(partial(ours, b) for b in usable)], repeats)
    rate, theirs = x.size / 1e6, iter(times)
    cells = ["-" if peer is None else f"{rate / next(theirs):.0f}" for peer in peers]
    for seconds in times[len(able) :]:
        ratio = f" ({min(times[: len(able)]) / seconds:.1f}x)" if able else ""
        cells.append(f"{rate / seconds:.0f}{ratio}")
    return f"| {kind.name} | {task} | {' | '.join(cells)} |"


def package(
    kind: QuantType,
    x: np.ndarray,
    weights: np.ndarray | None,
    data: np.ndarray | None,
) -> Callable[[], object] | None:
    """What libgguf, or gguf for plain numbers, does with rows x or back from data.

    None: they do not have the type.
    """
    if kind.name not in gguf.GGMLQuantizationType.__members__:
        return None
    theirs = gguf.GGMLQuantizationType[kind.name]
    if not kind.is_quantized:
        if data is None:
            return partial(gguf_quants.quantize, x, theirs)
        return partial(gguf_quants.dequantize, data, theirs)
    if data is None:
        return partial(libgguf.quantize_rows, x, theirs, weights)
    return partial(libgguf.dequantize_rows, data, theirs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", help="comma-separated names (default: all)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--ggml", type=Path, help="ggml's shared library (libggml-base), for a column"
    )
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
    ggml = Ggml(args.ggml) if args.ggml else None
    peers = ["libgguf", *(["ggml"] if ggml else [])]
    lines = [
        f"{machine()}, libgguf {metadata.version('libgguf')}",
        "",
        f"Mweights/s on one thread, {ROWS} rows of {COLS}, median of {args.repeats}; "
        f"in brackets the ratio to {' or '.join(peers)}, whichever is faster (of F16 "
        "and BF16 to gguf's NumPy).",
        "",
        f"| type | task | {' | '.join([*peers, *usable])} |",
        "|---" * (2 + len(peers) + len(usable)) + "|",
    ]
    for kind in kinds:
        for task in ("quantize", "quantize, importance", "dequantize"):
            if task == "quantize" and needs_importance(kind):
                continue
            if task == "quantize, importance" and not kind.is_quantized:
                continue
            lines.append(measure(kind, task, x, importance, args.repeats, ggml))
            print(lines[-1], file=sys.stderr)
    publish(lines, args.output)


if __name__ == "__main__":
    main()
