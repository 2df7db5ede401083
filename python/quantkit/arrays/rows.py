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

__all__ = [
    "check_importance",
    "dequantize_rows",
    "quantize_rows",
    "require_native",
]


def quantize_rows(
    x: NDArray[np.float32],
    type: QuantType,
    importance: NDArray[np.float32] | None = None,
    *,
    backend: str | None = None,
    device: int | None = None,
) -> NDArray[np.uint8]:
    """Quantize f32 [rows, cols] to uint8 [rows, row bytes].

    Args:
        x, type, importance: as above; importance is f32 [cols].
        backend: the name of a backend of the CPU to force.
        device: the number of the CUDA device that does it; None: the CPU.

    Raises:
        UnsupportedTypeError: quantkit cannot quantize to the type.
        ShapeError: the rows are not a multiple of the type's block, or `importance`
            does not have one value per column.
        NonFiniteError: a weight or an importance is NaN or infinite.
    """
    require_native(type, "quantize to")
    if importance is not None:
        check_importance(importance, x.shape[1])
        importance = np.ascontiguousarray(importance, np.float32)
    x = np.ascontiguousarray(x)
    out = np.empty((x.shape[0], type.row_bytes(x.shape[1])), np.uint8)
    if device is not None:
        from .._device import quantize_host_rows  # most runs have no device

        quantize_host_rows(x, type, importance, out, device)
    else:
        chosen = _native.active_backend(backend)
        _native.quantize_rows(x, type, importance, out, chosen)
    return out


def check_importance(importance: NDArray[np.float32], n_cols: int) -> None:
    """Check that there is one value per column.

    Raises:
        ShapeError: there is not.
    """
    if importance.shape != (n_cols,):
        raise ShapeError(
            f"`importance` has shape {list(importance.shape)}; expected one value for "
            f"each of the {n_cols} columns"
        )


def dequantize_rows(
    data: NDArray[np.uint8],
    type: QuantType,
    n_cols: int,
    *,
    backend: str | None = None,
    device: int | None = None,
) -> NDArray[np.float32]:
    """Dequantize uint8 [rows, row bytes] to f32 [rows, n_cols].

    `backend` and `device` are as for `quantize_rows`.

    Raises:
        UnsupportedTypeError: quantkit cannot dequantize the type.
        ShapeError: the rows do not have the bytes of `n_cols` weights.
    """
    require_native(type, "dequantize")
    expected = type.row_bytes(n_cols)
    if data.ndim != 2 or data.shape[1] != expected or data.dtype != np.uint8:
        raise ShapeError(
            f"{type.name} rows of {n_cols} weights are uint8 [rows, {expected}]; "
            f"found {data.dtype} {list(data.shape)}"
        )
    out: NDArray[Any] = np.empty((data.shape[0], n_cols), np.float32)
    data = np.ascontiguousarray(data)
    if device is not None:
        from .._device import dequantize_host_rows

        dequantize_host_rows(data, type, out, device)
    else:
        _native.dequantize_rows(data, type, out, _native.active_backend(backend))
    return out


def require_native(type: QuantType, verb: str) -> None:
    """Check that quantkit converts a type.

    Raises:
        UnsupportedTypeError: it does not; the message lists those that it does.
    """
    if type not in _native.native_types():
        known = ", ".join(t.name for t in QuantType if t in _native.native_types())
        raise UnsupportedTypeError(
            f"quantkit cannot {verb} {type.name}; it can: {known}"
        )
