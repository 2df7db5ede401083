"""Quantize and dequantize rows of weights in the C core."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..types import QuantType
from .arguments import BYTE, FLOAT, optional, read, shape_of, written
from .backend import Backend
from .refusals import bad_importance, bad_weight, lacking_importance
from .statuses import check_type

__all__ = [
    "dequantize_rows",
    "native_types",
    "needs_importance",
    "quantize_rows",
    "uses_importance",
]


@cache
def uses_importance(type: QuantType) -> bool:
    """Whether importance changes the result of quantizing to a type."""
    return bool(lib.qk_type_uses_importance(type.id))


@cache
def needs_importance(type: QuantType) -> bool:
    """Whether quantizing to a type requires importance."""
    return bool(lib.qk_type_needs_importance(type.id))


@cache
def native_types() -> frozenset[QuantType]:
    """The types that the C core quantizes and dequantizes."""
    size = ffi.new("size_t[2]")
    return frozenset(
        t for t in QuantType if lib.qk_type_layout(t.id, size, size + 1) == lib.QK_OK
    )


def quantize_rows(
    x: NDArray[np.float32],
    type: QuantType,
    importance: NDArray[np.float32] | None,
    out: NDArray[np.uint8],
    backend: Backend,
) -> None:
    """Quantize x f32 [rows, cols] into out uint8 [rows, row bytes], C-contiguous.

    Raises:
        ShapeError: an array does not fit; importance is f32 [cols] or None.
        NonFiniteError: a weight or an importance is NaN or infinite.
        UnsupportedTypeError: the type requires importance.
    """
    rows, cols = shape_of("x", x, 2)
    bad = ffi.new("size_t *")
    status = lib.qk_quantize_rows(
        backend.index,
        type.id,
        read(FLOAT, "x", x, (rows, cols)),
        optional(FLOAT, "importance", importance, (cols,)),
        rows,
        cols,
        written(BYTE, "out", out, (rows, type.row_bytes(cols))),
        bad,
    )
    if status == lib.QK_NOT_FINITE:
        row, column = divmod(bad[0], cols)
        raise bad_weight(row, column, x[row, column])
    if status == lib.QK_BAD_IMPORTANCE and importance is not None:
        raise bad_importance(bad[0], importance[bad[0]])
    if status == lib.QK_NEEDS_IMPORTANCE:
        raise lacking_importance(type)
    check_type(status, type, cols)


def dequantize_rows(
    data: NDArray[np.uint8],
    type: QuantType,
    out: NDArray[np.float32],
    backend: Backend,
) -> None:
    """Dequantize data uint8 [rows, row bytes] into out f32 [rows, cols].

    Raises:
        ShapeError: an array does not fit.
    """
    rows, cols = shape_of("out", out, 2)
    status = lib.qk_dequantize_rows(
        backend.index,
        type.id,
        read(BYTE, "data", data, (rows, type.row_bytes(cols))),
        rows,
        cols,
        written(FLOAT, "out", out, (rows, cols)),
    )
    check_type(status, type, cols)
