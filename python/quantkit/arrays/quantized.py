"""Quantize arrays and dequantize tensors.

The bytes are those of llama.cpp's x86-64 builds, on every machine, backend and device.
The functions release the interpreter lock and are safe to call from several threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..by_value import ByValue
from ..errors import ShapeError
from ..types import QuantType
from .finite import refuse_overflow
from .given import as_f32
from .on_device import (
    bytes_on_host,
    dequantize_there,
    host_device,
    importance_on_host,
    quantize_there,
)
from .rows import dequantize_rows, quantize_rows
from .scaled_importance import scaled_importance
from .taking import is_on_device

__all__ = ["QuantizedTensor", "dequantize", "quantize"]


@dataclass(frozen=True, eq=False)
class QuantizedTensor(ByValue):
    """A tensor in a GGUF type.

    Args:
        data: uint8 [rows, row bytes]; all axes but the last are flattened into rows.  A
            NumPy array, or one in the memory of a CUDA device (of CuPy, PyTorch, JAX).
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
        if not _is_layout(self.data, expected):
            raise ShapeError(
                f"{self.type.name} weights of shape {list(self.shape)} are uint8 "
                f"{list(expected)}; found {_described(self.data)}"
            )

    def __eq__(self, other: object) -> bool:
        """Whether type, shape and bytes are the same, wherever the bytes are."""
        if not isinstance(other, QuantizedTensor):
            return NotImplemented
        if (self.type, self.shape) != (other.type, other.shape):
            return False
        return np.array_equal(bytes_on_host(self.data), bytes_on_host(other.data))

    @property
    def n_bytes(self) -> int:
        """Bytes of the quantized weights."""
        return math.prod(map(int, self.data.shape))


def quantize(
    weights: ArrayLike,
    type: str | QuantType,
    importance: ArrayLike | None = None,
    *,
    backend: str | None = None,
    device: str | None = None,
) -> QuantizedTensor:
    """Quantize an array to a GGUF type.

    An array in the memory of a CUDA device is quantized there, without a copy if it is
    f32 and contiguous.  The bytes are an array of the same library on the same device:
    PyTorch's, CuPy's or JAX's (others' become CuPy's).  The work is queued on the
    library's current stream, and waited for.

    Args:
        weights: real numbers [..., cols]: a NumPy array, a torch tensor, an array of
            jax or ml_dtypes, or nested lists.  They are quantized from f32: bfloat16
            and f16 become f32 without loss, f64 and large integers are rounded.
        type: the GGUF type, such as "Q4_K", in any case.
        importance: real numbers [cols], the weight of each column's error: the mean
            square of its activations, as in an importance matrix (imatrix).
        backend: the name of a backend of the CPU to force; see `backends`.
        device: where the work is done: "cpu", "cuda" or "cuda:1"; see `devices`.  None:
            where `weights` is.  Arrays in main memory pass through a CUDA device in
            pieces, and the bytes come back to main memory.  They are the same.

    Returns:
        The quantized tensor, with `.shape` equal to that of `weights`.

    Raises:
        UnsupportedTypeError: the type is unknown, or quantkit cannot quantize to it.
        ShapeError: `weights` is not an array of real numbers, has no axis, or its rows
            are not a multiple of the type's block; or `importance` does not have one
            value per column.
        NonFiniteError: a weight or an importance is NaN or infinite, or a weight is too
            large for the type, so that it would read back as NaN or infinity.
        OptionError: `device` is no name of a device, or another than that of `weights`,
            or `backend` is given with one.
        BackendError: the device cannot be used: the CUDA library, the driver or the
            device is missing, or too little of its memory is free.

    Example:
        >>> q = quantize(np.ones((2, 256), np.float32), "Q4_K")
        >>> q.data.shape, q.shape
        ((2, 144), (2, 256))
    """
    target = QuantType.parse(type)
    if is_on_device(weights):
        data, shape = quantize_there(
            *(weights, target, importance), device=device, backend=backend
        )
        return QuantizedTensor(data, target, shape)
    number = host_device(device, backend)
    array = as_f32(weights)
    if array.ndim == 0:
        raise ShapeError(
            "cannot quantize a single number; expected an array [..., cols]"
        )
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    weighting = None
    if importance is not None:
        weighting = scaled_importance(importance_on_host(importance))
    data = quantize_rows(rows, target, weighting, backend=backend, device=number)
    refuse_overflow(rows, data, target, weighting)
    return QuantizedTensor(data, target, array.shape)


def dequantize(
    tensor: QuantizedTensor, *, backend: str | None = None, device: str | None = None
) -> NDArray[np.float32]:
    """The weights of a quantized tensor: f32 with its shape.

    They are where the bytes are: a NumPy array, or on a CUDA device an array of the
    same library, whose work is queued on the library's current stream.  The values are
    not checked: a scale that is NaN or infinite, as in a damaged file, gives weights
    that are NaN or infinite.

    Args:
        tensor: the tensor.
        backend, device: as for `quantize`.

    Raises:
        UnsupportedTypeError: quantkit cannot dequantize the type.
        ShapeError: `tensor` is not a QuantizedTensor.
        OptionError, BackendError: as for `quantize`.
    """
    if not isinstance(tensor, QuantizedTensor):
        raise ShapeError(
            "expected a QuantizedTensor (bytes with their type and shape); found "
            f"{_described(tensor)}"
        )
    if is_on_device(tensor.data):
        there: NDArray[np.float32] = dequantize_there(
            *(tensor.data, tensor.type, tensor.shape), device=device, backend=backend
        )
        return there
    rows = dequantize_rows(
        *(tensor.data, tensor.type, tensor.shape[-1]),
        backend=backend,
        device=host_device(device, backend),
    )
    return rows.reshape(tensor.shape)


def _is_layout(data: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are bytes of a shape, in main memory or on a device."""
    if not isinstance(data, np.ndarray) and not is_on_device(data):
        return False
    dtype = str(data.dtype).removeprefix("torch.")
    return (tuple(data.shape), dtype) == (shape, "uint8")


def _described(value: Any) -> str:
    """A value for messages: an array's dtype and shape, or else its class."""
    if isinstance(value, np.ndarray) or is_on_device(value):
        return f"{value.dtype} {list(value.shape)}"
    return str(value.__class__.__name__)
