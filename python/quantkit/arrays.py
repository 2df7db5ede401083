"""Quantize and dequantize arrays.

The bytes are those of llama.cpp's x86-64 builds, on every machine and backend.  All
functions release the interpreter lock while they work and may be called from threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from .errors import ShapeError, UnsupportedTypeError
from .types import QuantType

__all__ = [
    "QuantizedTensor",
    "dequantize",
    "dequantize_rows",
    "quantize",
    "quantize_rows",
]


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A tensor in a GGUF type.

    Attributes:
        data: uint8 [rows, row bytes]; rows count through all axes but the last.
        type: the GGUF type of the rows.
        shape: the shape of the weights, row length last.
    """

    data: NDArray[np.uint8]
    type: QuantType
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of the quantized weights."""
        return self.data.nbytes


def quantize(
    weights: ArrayLike,
    type: str | QuantType,
    importance: ArrayLike | None = None,
    *,
    backend: str | None = None,
) -> QuantizedTensor:
    """Quantize an array to a GGUF type.

    Args:
        weights: f32, f16 or bf16 (ml_dtypes) array [..., cols], or any real array-like.
        type: the GGUF type, such as "Q4_K", in any case.
        importance: f32 [cols], how much the error of each column counts: the mean
            square of its activations, as an importance matrix (imatrix) holds it.
        backend: forces a backend by name; see `backends`.

    Returns:
        The quantized tensor, with `.shape` equal to that of `weights`.

    Raises:
        UnsupportedTypeError: the type is unknown, or quantkit cannot quantize to it.
        ShapeError: the array has no axis, its row is not a whole number of blocks, or
            `importance` has not one value per column.
        NonFiniteError: a weight or an importance is NaN or infinite.

    Example:
        >>> q = quantize(np.ones((2, 256), np.float32), "Q4_K")
        >>> q.data.shape, q.shape
        ((2, 144), (2, 256))
    """
    array = np.asarray(weights)
    if array.ndim == 0:
        raise ShapeError(
            "cannot quantize a single number; expected an array [..., cols]"
        )
    if array.dtype.kind in "cOSUM":
        raise ShapeError(f"cannot quantize an array of {array.dtype}; expected floats")
    n_cols = array.shape[-1]
    rows = array.reshape(math.prod(array.shape[:-1]), n_cols)
    target = QuantType.parse(type)
    weighting = None if importance is None else np.asarray(importance, np.float32)
    data = quantize_rows(
        np.asarray(rows, np.float32), target, weighting, backend=backend
    )
    return QuantizedTensor(data, target, array.shape)


def dequantize(
    tensor: QuantizedTensor, *, backend: str | None = None
) -> NDArray[np.float32]:
    """The weights of a quantized tensor, f32 with its shape.

    Raises:
        UnsupportedTypeError: quantkit cannot dequantize the type.
        ShapeError: the data does not fit the shape.
    """
    rows = dequantize_rows(tensor.data, tensor.type, tensor.shape[-1], backend=backend)
    return rows.reshape(tensor.shape)


def quantize_rows(
    x: NDArray[np.float32],
    type: QuantType,
    importance: NDArray[np.float32] | None = None,
    *,
    backend: str | None = None,
) -> NDArray[np.uint8]:
    """Quantize f32 [rows, cols] to uint8 [rows, row bytes].

    Raises as `quantize` does.
    """
    _require_native(type, "quantize to")
    if importance is not None:
        if importance.shape != (x.shape[1],):
            raise ShapeError(
                f"importance has shape {importance.shape}; expected one value for "
                f"each of the {x.shape[1]} columns"
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

    Raises as `dequantize` does.
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
