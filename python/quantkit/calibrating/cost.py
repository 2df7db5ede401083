"""What a calibration will take: time and memory, before any of it is done.

The operations of all layers are counted: products of the forward pass, sums over
tokens, factors, and rows that are solved.  How fast this machine does each of them is
measured on small arrays, in about a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from .._native import column_order, gram, solve_rows, solver_layout
from ..display import Displayed
from ..execution.workers import Threads, Workers, in_this_process, kept_open
from ..forward.base import F32
from ..forward.decoder import EMBEDDING
from ..gguf.source import ModelSource, SourceTensor
from ..inference.weights import TypedMatrix
from ..types import QuantType
from .calibration import Calibration
from .choosing import DAMPINGS, RIDGES
from .factoring import factor, make_plan
from .model_pass import solvable
from .sample import HELD_OUT, N_COMPARED
from .spans import BATCH_TOKENS
from .sums import F64

__all__ = ["CalibrationCost", "describe_cost"]

PROBE = 512
"""Rows, columns and tokens of the arrays that are measured."""

OVERHEAD = 2.0
"""What the rest takes, relative to the operations that are counted: attention, norms,
copies, errors on held-out text.  Runs of the demo model and SmolLM2-135M took 1.8 to
2.5 times what is counted (`quantize --dry-run` beside the run itself)."""

RUNS = {"fast": 1.0, "best": 4.0}
"""How often each matrix is multiplied by the text: in "best" by two streams, once to
find the inputs of those behind it and once to go on."""

SQUARES = {"fast": 4, "best": 6}
"""Arrays f64 [n_cols, n_cols] that are in memory for a matrix: sums, factors, plans."""


SHARING = (".attn_v.weight", ".ffn_up.weight", ".ffn_up_exps.weight")
"""Ends of the names of matrices whose sums and factors another one has, too."""


@dataclass(frozen=True)
class CalibrationCost(Displayed):
    """What a calibration is expected to take; an estimate.

    Attributes:
        seconds: with as many cores as threads.
        memory_bytes: the most memory at a time.
        disk_bytes: what its folder holds when all is done.
    """

    seconds: float
    memory_bytes: int
    disk_bytes: int


def describe_cost(
    source: ModelSource,
    types: Mapping[str, QuantType],
    calibration: Calibration,
    threads: int | Workers | None = None,
) -> CalibrationCost:
    """Estimate what `calibrate` with the same arguments takes.

    The text is not read; it is taken to have as many tokens as `calibration` asks for.
    """
    tensors = [source.tensors[name] for name in solvable(source, types)]
    known = [tensor for tensor in tensors if solver_layout(types[tensor.name])]
    n_tokens, effort = calibration.tokens, calibration.effort
    seconds = sum(
        _seconds(tensor, types[tensor.name], n_tokens, effort) for tensor in known
    )
    width = source.tensors[EMBEDDING].n_cols
    n_streams = 1 if effort == "fast" else 2
    streams = 4 * n_streams * n_tokens * width
    rows = sum(t.n_rows * types[t.name].row_bytes(t.n_cols) for t in tensors)
    return CalibrationCost(
        OVERHEAD * seconds / in_this_process(threads).count,
        streams + max((_memory(t, calibration) for t in known), default=0),
        2 * streams + rows,
    )


def _seconds(
    tensor: SourceTensor, type: QuantType, n_tokens: int, effort: str
) -> float:
    """The time that one core needs for a tensor."""
    n_rows, n = tensor.shape[-2], tensor.n_cols
    n_matrices = tensor.n_rows / n_rows
    # the plain and the solved matrix are measured on two parts of the text
    runs = RUNS[effort] + 2 * 3 / HELD_OUT
    time = runs * tensor.n_weights * _product(tensor.type) * n_tokens / PROBE
    time += tensor.n_weights * _solve(type) * (1 + n / PROBE) / 2
    if tensor.name.endswith(SHARING):
        return time
    time += n * n * n_tokens * (1 if effort == "fast" else 3) * _sum()
    n_factors = len(DAMPINGS) + (len(RIDGES) if effort == "best" else 0)
    return time + n_matrices * n_factors * n**3 * _factor()


def _memory(tensor: SourceTensor, calibration: Calibration) -> int:
    """The memory for a tensor while it is solved, without the streams."""
    n, effort = tensor.n_cols, calibration.effort
    n_streams = 1 if effort == "fast" else 2
    n_held = calibration.tokens // HELD_OUT
    n_kept = n_held + min(n_held, N_COMPARED * calibration.options.ctx)
    inputs = 4 * n * n_streams * 2 * (BATCH_TOKENS + n_kept)
    weights = tensor.n_rows * (tensor.type.row_bytes(n) + n)
    return SQUARES[effort] * 8 * n * n + inputs + weights


def _measured(run: Callable[[], object], operations: float) -> float:
    """Seconds of CPU for each operation: the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) / operations


@cache
def _activations() -> F32:
    values = np.random.default_rng(0).standard_normal((PROBE, PROBE))
    return values.astype(np.float32)


@cache
def _product(type: QuantType) -> float:
    """Seconds for a weight and PROBE tokens."""
    x = _activations()
    data = np.zeros((PROBE, type.row_bytes(PROBE)), np.uint8)
    matrix = TypedMatrix(data, type, PROBE)
    return _measured(lambda: matrix.apply(x), PROBE**2)


@cache
def _sum() -> float:
    """Seconds for a token and a pair of columns, of which half are summed."""
    x = _activations()
    return _measured(lambda: gram(x, x, 0, PROBE), PROBE**3) / 2


@cache
def _factor() -> float:
    """Seconds for the cube of a column."""
    with kept_open(Threads(1)) as one:
        return _measured(lambda: factor(_squares().copy(), one), PROBE**3)


@cache
def _solve(type: QuantType) -> float:
    """Seconds for a weight in rows of PROBE weights."""
    h, x, one = _squares().copy(), _activations(), Threads(1)
    order = column_order(h.diagonal().copy(), type)
    factor(h, one)
    plan = make_plan(type, order, h, one)
    return _measured(lambda: solve_rows(plan, x[:64]), 64 * PROBE)


@cache
def _squares() -> F64:
    x = _activations().astype(np.float64)
    squares: F64 = x.T @ x + PROBE * np.eye(PROBE)
    return squares
