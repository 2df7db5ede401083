"""The softmax of rows of logits, computed tile by tile in the C core."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .backend import Backend

__all__ = ["Rows", "add_logits", "compare_logits", "new_rows"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Rows = NDArray[np.void]
"""The state of each row: fields total, top, highest and wanted; see quantkit.h."""

_ROW = np.dtype(
    [
        ("total", np.float64),
        ("top", np.int64),
        ("highest", np.float32),
        ("wanted", np.float32),
    ]
)


def new_rows(n: int) -> Rows:
    """n rows before their first logit; the target's logit is NaN until it is added."""
    return np.array((0, 0, -np.inf, np.nan), _ROW).repeat(n)


def add_logits(
    logits: F32, start: int, targets: I64, rows: Rows, backend: Backend
) -> None:
    """Add the logits [n, tokens] of the tokens from `start` on to the rows."""
    tile = _tile(logits, start, targets, rows)
    _check(
        lib.qk_add_logits(backend.index, tile, _data(logits), _pointer(rows)), logits
    )


def compare_logits(
    logits: F32,
    base_logits: F32,
    start: int,
    targets: I64,
    rows: tuple[Rows, Rows],
    excess: NDArray[np.float64],
    backend: Backend,
) -> None:
    """Add the logits of a model and its base to their rows.

    Args:
        logits, base_logits: [n, tokens] of the tokens from `start` on.
        start: the first token of this tile.
        targets: [n], the actual tokens.
        rows: the rows of the model and of the base.
        excess: [n], becomes the sum of exp(b - highest of the base) * (b - l) over the
            base's logits b and the model's logits l.
        backend: the backend to use.
    """
    if logits.shape != base_logits.shape or logits.strides != base_logits.strides:
        raise ShapeError(
            f"the logits of a model {logits.shape} and its base {base_logits.shape} "
            "have different shapes or strides"
        )
    status = lib.qk_compare_logits(
        backend.index,
        _tile(logits, start, targets, rows[0]),
        _data(logits),
        _data(base_logits),
        _pointer(rows[0]),
        _pointer(rows[1]),
        ffi.from_buffer("double[]", excess),
    )
    _check(status, logits)


def _tile(logits: F32, start: int, targets: I64, rows: Rows) -> Any:
    """The tile as a C struct."""
    if not len(logits) == len(targets) == len(rows):
        raise ShapeError(
            f"{len(logits)} rows of logits for {len(targets)} targets and "
            f"{len(rows)} rows"
        )
    tile = ffi.new("qk_tile *")
    tile.n_rows, tile.n_cols = logits.shape
    tile.stride, tile.first = logits.strides[0] // logits.itemsize, start
    tile.targets = ffi.from_buffer("int64_t[]", targets)
    return tile


def _data(logits: F32) -> object:
    """The memory of the logits; rows may be strided."""
    return ffi.cast("float *", logits.ctypes.data)


def _pointer(rows: Rows) -> object:
    return ffi.cast("qk_softmax *", rows.ctypes.data)


def _check(status: int, logits: F32) -> None:
    if status != lib.QK_OK:
        raise ShapeError(
            f"logits of shape {logits.shape} with rows {logits.strides[0]} bytes "
            f"apart: status {status}"
        )
