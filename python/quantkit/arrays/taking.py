"""Take arrays in device memory from users, without a copy, and give results back.

PyTorch's tensors and CuPy's arrays are used as they are.  Those of other libraries
become CuPy's, which shares their memory: by DLPack or `__cuda_array_interface__`.
JAX's come back as JAX's, others' as CuPy's.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .. import _device
from ..errors import ShapeError
from .given import is_real, not_real

__all__ = ["given_back", "is_on_device", "taken"]

DLPACK_CUDA = 2
"""The kind of a CUDA device in DLPack."""


def is_on_device(values: Any) -> bool:
    """Whether an array is in the memory of a CUDA device."""
    if isinstance(values, np.ndarray | list | tuple):
        return False
    if _is_of("torch", "Tensor", values):
        return bool(values.is_cuda)
    return _device.has_interface(values) or _dlpack_kind(values) == DLPACK_CUDA


def _is_of(module: str, name: str, values: object) -> bool:
    """Whether an object is of a class of a library, which may not be imported."""
    imported = sys.modules.get(module)
    kind = getattr(imported, name, None)
    return isinstance(kind, type) and isinstance(values, kind)


def _dlpack_kind(values: Any) -> int | None:
    try:
        return int(values.__dlpack_device__()[0])
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return None


def taken(values: Any, dtype: str, what: str) -> Any:
    """An array in device memory, C-contiguous, ready on the stream of its library.

    Args:
        values: real numbers; those that have the dtype and are contiguous are not
            copied.
        dtype: what they become, "float32" or "uint8".
        what: the name of the values in messages.

    Raises:
        ShapeError: they are not an array of real numbers.
        BackendError: the device has too little memory, or CuPy is needed and not
            installed.
    """
    take = _taken_by_torch if _is_of("torch", "Tensor", values) else _taken
    try:
        with _device.device_errors(f"{what} as {dtype}"):
            return take(values, dtype, what)
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as e:
        if isinstance(e, ShapeError):
            raise
        reason = str(e).partition("\n")[0]
        raise ShapeError(f"{what} is not an array of numbers: {reason}") from None


def _taken_by_torch(tensor: Any, dtype: str, what: str) -> Any:
    torch = sys.modules["torch"]
    if tensor.is_complex() or tensor.dtype is torch.bool:
        raise not_real(tensor.dtype, what)
    return tensor.detach().resolve_neg().to(getattr(torch, dtype)).contiguous()


def _taken(values: Any, dtype: str, what: str) -> Any:
    array = values if _acts_like_numpy(values) else _as_cupy(values, dtype, what)
    if not is_real(array.dtype):
        raise not_real(array.dtype, what)
    _device.wait_for_producer(array)
    with _device.owner_of(array).current(array):
        numbers = array.astype(dtype, copy=False)
        together = np.ascontiguousarray(numbers, like=numbers)
        return together.reshape(numbers.shape)  # it has an axis at least


def _acts_like_numpy(values: object) -> bool:
    """Whether NumPy's functions can be called with an array: CuPy's can."""
    return _device.has_interface(values) and hasattr(values, "__array_function__")


def _as_cupy(values: Any, dtype: str, what: str) -> Any:
    """The array of another library as CuPy's, in the same memory."""
    cupy = _device.cupy_module(f"{type(values).__name__} on a CUDA device")
    if _is_of("jax", "Array", values):
        if not is_real(values.dtype):
            raise not_real(values.dtype, what)
        values = values.astype(dtype)  # of numbers that DLPack may not know
    if hasattr(values, "__dlpack__"):
        return cupy.from_dlpack(values)
    return cupy.asarray(values)


def given_back(result: Any, like: Any) -> Any:
    """A result as an array of the library that the input was of.

    If CuPy shared the memory of another library, the work on it is waited for, because
    that library may use it for something else as soon as it can.
    """
    if not _is_of("torch", "Tensor", like) and not _acts_like_numpy(like):
        _device.synchronize(result)
    if _is_of("jax", "Array", like):
        from_dlpack = sys.modules["jax"].dlpack.from_dlpack
        return from_dlpack(result)
    return result
