"""Quantize rows of weights to the bytes of a type, and dequantize them.

The bytes are those of llama.cpp's x86-64 builds, on every machine and backend.  As in
ggml, scales that overflow are written as infinite; `finite` refuses them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..errors import ShapeError, UnsupportedTypeError
from ..types import QuantType

__all__ = ["dequantize_rows", "quantize_rows"]


def quantize_rows(
    x: NDArray[np.float32],
    type: QuantType,
    importance: NDArray[np.float32] | None = None,
    *,
    backend: str | None = None,
) -> NDArray[np.uint8]:
    """Quantize f32 [rows, cols] to uint8 [rows, row bytes].

    Raises:
        UnsupportedTypeError: quantkit cannot quantize to the type.
        ShapeError: the rows are not a multiple of the type's block, or `importance`
            does not have one value per column.
        NonFiniteError: a weight or an importance is NaN or infinite.
    """
    _require_native(type, "quantize to")
    if importance is not None:
        if importance.shape != (x.shape[1],):
            raise ShapeError(
                f"`importance` has shape {list(importance.shape)}; expected one value "
                f"for each of the {x.shape[1]} columns"
            )
        importance = np.ascontiguousarray(importance, np.float32)
    out = np.empty((x.shape[0], type.row_bytes(x.shape[1])), np.uint8)
    _native.quantize_rows(
        np.ascontiguousarray(x),
        type,
        importance,
        out,
        _native.active_backend(backend),
    )
    return out


def dequantize_rows(
    data: NDArray[np.uint8],
    type: QuantType,
    n_cols: int,
    *,
    backend: str | None = None,
) -> NDArray[np.float32]:
    """Dequantize uint8 [rows, row bytes] to f32 [rows, n_cols].

    Raises:
        UnsupportedTypeError: quantkit cannot dequantize the type.
        ShapeError: the rows do not have the bytes of `n_cols` weights.
    """
    _require_native(type, "dequantize")
    expected = type.row_bytes(n_cols)
    if data.ndim != 2 or data.shape[1] != expected or data.dtype != np.uint8:
        raise ShapeError(
            f"{type.name} rows of {n_cols} weights are uint8 [rows, {expected}]; "
            f"found {data.dtype} {list(data.shape)}"
        )
    out: NDArray[Any] = np.empty((data.shape[0], n_cols), np.float32)
    _native.dequantize_rows(
        np.ascontiguousarray(data), type, out, _native.active_backend(backend)
    )
    return out


def _require_native(type: QuantType, verb: str) -> None:
    if type not in _native.native_types():
        known = ", ".join(t.name for t in QuantType if t in _native.native_types())
        raise UnsupportedTypeError(
            f"quantkit cannot {verb} {type.name}; it can: {known}"
        )
