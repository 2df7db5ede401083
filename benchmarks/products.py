"""How fast one thread multiplies, and the most that its instructions allow."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from quantkit._native import Backend, Precision, matmul, pack_activations, packing_for
from quantkit.arrays.rows import quantize_rows
from quantkit.gguf import GGUFFile
from quantkit.types import QuantType

__all__ = ["M", "Shape", "best", "instruction", "peaks", "product_speed", "products_of"]

M = 512
"""Rows of activations: one chunk of text."""

DISTINCT_ROWS = 64
"""Quantizing takes longer than multiplying: these are repeated."""

Shape = tuple[QuantType, int, int]
"""Type, rows and columns of a matrix of weights."""

INSTRUCTIONS = {
    "avx512": ("vfmadd231ps-zmm", "vpdpwssd-zmm", "vpdpbusd-zmm"),
    "avx2": ("vfmadd231ps-ymm", "vpmaddwd-ymm", "vpmaddubsw-ymm"),
}
"""By backend, what multiplies in f32, i16 and q8, as peak.c calls it."""


def best(run: Callable[[], object], seconds: float = 0.2, least: int = 3) -> float:
    """The least processor time of a run, of as many as take `seconds`."""
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        start = time.thread_time()
        run()
        taken.append(time.thread_time() - start)
    return min(taken)


def product_speed(
    backend: Backend, shapes: Mapping[Shape, int], precision: Precision
) -> float:
    """GOP/s of products with matrices of some shapes, each as often as it is said."""
    operations = seconds = 0.0
    for (type, n_rows, n_cols), n in shapes.items():
        rng = np.random.default_rng(0)
        x = rng.standard_normal((M, n_cols), np.float32)
        data, packing = _weights(type, n_rows, n_cols), packing_for(type, precision)
        y = np.empty((M, n_rows), np.float32)

        def multiply(
            x: np.ndarray = x,
            data: np.ndarray = data,
            packing: int = packing,
            type: QuantType = type,
            y: np.ndarray = y,
        ) -> None:
            matmul(pack_activations(x, packing, backend), data, type, y)

        seconds += n * best(multiply)
        operations += n * 2 * y.size * n_cols
    return 1e-9 * operations / seconds


def _weights(type: QuantType, n_rows: int, n_cols: int) -> np.ndarray:
    """Random weights of a type: [n_rows, row bytes]."""
    x = np.random.default_rng(0).standard_normal((DISTINCT_ROWS, n_cols), np.float32)
    importance = np.ones(n_cols, np.float32) if type.is_quantized else None
    repeats = -(-n_rows // DISTINCT_ROWS)
    return np.tile(quantize_rows(x, type, importance), (repeats, 1))[:n_rows]


def products_of(model: Path) -> Counter[Shape]:
    """What a dense model multiplies by for each token: its matrices, the head too."""
    with GGUFFile(model) as file:
        matrices = [t for t in file.tensors.values() if len(t.shape) == 2]
        has_head = "output.weight" in file.tensors
        return Counter(
            (tensor.type, tensor.n_rows, tensor.n_cols)
            for tensor in matrices
            if tensor.name != "token_embd.weight" or not has_head
        )


def instruction(backend: Backend, precision: Precision) -> str | None:
    """What multiplies in a precision on x86; None elsewhere."""
    names = INSTRUCTIONS.get(backend.name)
    return names[precision] if names else None


def peaks() -> dict[str, float]:
    """GOP/s of the instructions that peak.c measures; empty where it cannot run."""
    compiler = shutil.which("cc")
    if compiler is None or platform.machine().lower() not in ("x86_64", "amd64"):
        return {}
    source = Path(__file__).with_name("peak.c")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "peak")
        subprocess.run([compiler, "-O2", "-o", program, str(source)], check=True)
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in done.stdout.splitlines())
    return {name: float(speed) for name, speed in pairs}
