"""Quantize and dequantize rows of weights in device memory."""

from __future__ import annotations

from typing import Any

from .._native import (
    bad_importance,
    bad_weight,
    lacking_importance,
    needs_importance,
)
from ..types import QuantType
from .arguments import BYTE, FLOAT, HALF, TOKEN, optional, read, shape_of, written
from .calling import queue
from .interface import view_of
from .loading import library
from .owners import owner_of
from .statuses import check_type

__all__ = ["dequantize_rows", "quantize_rows"]


def quantize_rows(x: Any, type: QuantType, importance: Any | None, out: Any) -> None:
    """Quantize x f32 [rows, cols] into out uint8 [rows, row bytes], on their device.

    It waits for the result, because it says whether all weights are finite.

    Raises:
        ShapeError: an array does not fit; importance is f32 [cols] or None.
        NonFiniteError: a weight or an importance is NaN or infinite.
        UnsupportedTypeError: the type requires importance.
        BackendError: CUDA failed.
    """
    rows, cols = shape_of("x", x, 2)
    if importance is None and needs_importance(type):
        raise lacking_importance(type)
    owner = owner_of(x)
    n_scratch = _scratch_bytes(type, importance is not None, rows, cols)
    with owner.current(x):
        scratch = owner.empty(x, (n_scratch,), "uint8")
        bad = owner.empty(x, (2,), "int64")
    status = queue(
        "qkc_quantize",
        type.id,
        read(FLOAT, "x", x, (rows, cols)),
        optional(FLOAT, "importance", importance, (cols,)),
        rows,
        cols,
        written(BYTE, "out", out, (rows, type.row_bytes(cols))),
        written(TOKEN, "bad", bad, (2,)),
        read(BYTE, "scratch", scratch, (n_scratch,)),
        n_scratch,
        on=x,
    )
    check_type(status, "qkc_quantize", type, cols)
    weight, column = map(int, owner.on_host(bad))
    if column >= 0:
        raise bad_importance(column, owner.on_host(importance)[column])
    if weight >= 0:
        row, place = divmod(weight, cols)
        raise bad_weight(row, place, owner.on_host(x[row])[place])


def _scratch_bytes(type: QuantType, weighted: bool, rows: int, cols: int) -> int:
    """Bytes of memory that quantizing needs beside the arrays."""
    own = library()
    size = own.ffi.new("size_t *")
    status = own.lib.qkc_quantize_scratch(type.id, weighted, rows, cols, size)
    check_type(status, "qkc_quantize_scratch", type, cols)
    return int(size[0])


def dequantize_rows(data: Any, type: QuantType, out: Any) -> None:
    """Dequantize data uint8 [rows, row bytes] into out f32 or f16 [rows, cols].

    f16 is rounded from f32, half to even.  The work is queued and not waited for.

    Raises:
        ShapeError: an array does not fit.
        BackendError: CUDA failed.
    """
    rows, cols = shape_of("out", out, 2)
    is_half = view_of("out", out).dtype == HALF.dtype
    kind, made = (HALF, QuantType.F16) if is_half else (FLOAT, QuantType.F32)
    status = queue(
        "qkc_dequantize",
        type.id,
        read(BYTE, "data", data, (rows, type.row_bytes(cols))),
        rows,
        cols,
        made.id,
        written(kind, "out", out, (rows, cols)),
        on=out,
    )
    check_type(status, "qkc_dequantize", type, cols)
