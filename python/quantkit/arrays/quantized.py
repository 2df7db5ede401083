"""Quantize arrays and dequantize tensors.

The bytes are those of llama.cpp's x86-64 builds, on every machine and backend.  The
functions release the interpreter lock and are safe to call from several threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..by_value import ByValue
from ..errors import ShapeError
from ..types import QuantType
from .finite import refuse_overflow
from .given import as_f32
from .rows import dequantize_rows, quantize_rows
from .scaled_importance import scaled_importance

__all__ = ["QuantizedTensor", "dequantize", "quantize"]


@dataclass(frozen=True, eq=False)
class QuantizedTensor(ByValue):
    """A tensor in a GGUF type.

    Args:
        data: uint8 [rows, row bytes]; all axes but the last are flattened into rows.
        type: the GGUF type of the rows, or its name.
        shape: the shape of the weights, row length last.

    Raises:
        UnsupportedTypeError: the type is unknown.
        ShapeError: the data does not fit the type and the shape.
    """

    data: NDArray[np.uint8]
    type: QuantType
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", QuantType.parse(self.type))
        if not isinstance(self.shape, list | tuple) or not self.shape:
            raise ShapeError(f"the shape is {self.shape!r}; expected (..., cols)")
        try:
            object.__setattr__(self, "shape", tuple(map(index, self.shape)))
        except TypeError:
            raise ShapeError(
                f"the shape is {self.shape!r}; expected integers (..., cols)"
            ) from None
        if min(self.shape) < 0:
            raise ShapeError(f"the shape is {self.shape!r}; expected no negative size")
        expected = math.prod(self.shape[:-1]), self.type.row_bytes(self.shape[-1])
        is_array = isinstance(self.data, np.ndarray)
        if not is_array or (self.data.shape, self.data.dtype) != (
            expected,
            np.dtype(np.uint8),
        ):
            raise ShapeError(
                f"{self.type.name} weights of shape {list(self.shape)} are uint8 "
                f"{list(expected)}; found {_described(self.data)}"
            )

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
        weights: real numbers [..., cols]: a NumPy array, a torch tensor, an array of
            jax or ml_dtypes, or nested lists.  They are quantized from f32: bfloat16
            and f16 become f32 without loss, f64 and large integers are rounded.
        type: the GGUF type, such as "Q4_K", in any case.
        importance: real numbers [cols], the weight of each column's error: the mean
            square of its activations, as in an importance matrix (imatrix).
        backend: the name of a backend to force; see `backends`.

    Returns:
        The quantized tensor, with `.shape` equal to that of `weights`.

    Raises:
        UnsupportedTypeError: the type is unknown, or quantkit cannot quantize to it.
        ShapeError: `weights` is not an array of real numbers, has no axis, or its rows
            are not a multiple of the type's block; or `importance` does not have one
            value per column.
        NonFiniteError: a weight or an importance is NaN or infinite, or a weight is too
            large for the type, so that it would read back as NaN or infinity.

    Example:
        >>> q = quantize(np.ones((2, 256), np.float32), "Q4_K")
        >>> q.data.shape, q.shape
        ((2, 144), (2, 256))
    """
    target = QuantType.parse(type)
    array = as_f32(weights)
    if array.ndim == 0:
        raise ShapeError(
            "cannot quantize a single number; expected an array [..., cols]"
        )
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    weighting = None
    if importance is not None:
        weighting = scaled_importance(as_f32(importance, "`importance`"))
    data = quantize_rows(rows, target, weighting, backend=backend)
    refuse_overflow(rows, data, target, weighting)
    return QuantizedTensor(data, target, array.shape)


def dequantize(
    tensor: QuantizedTensor, *, backend: str | None = None
) -> NDArray[np.float32]:
    """The weights of a quantized tensor: f32 with its shape.

    The values are not checked: a scale that is NaN or infinite, as in a damaged file,
    gives weights that are NaN or infinite.

    Raises:
        UnsupportedTypeError: quantkit cannot dequantize the type.
        ShapeError: `tensor` is not a QuantizedTensor.
    """
    if not isinstance(tensor, QuantizedTensor):
        raise ShapeError(
            "expected a QuantizedTensor (bytes with their type and shape); found "
            f"{_described(tensor)}"
        )
    rows = dequantize_rows(tensor.data, tensor.type, tensor.shape[-1], backend=backend)
    return rows.reshape(tensor.shape)


def _described(value: object) -> str:
    """A value for messages: an array's dtype and shape, or else its class."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return value.__class__.__name__
