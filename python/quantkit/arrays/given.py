"""Convert numbers from NumPy, lists, torch, jax and ml_dtypes to f32 arrays.

No library is imported that the user has not imported.  torch tensors are detached and
copied to the CPU; torch converts formats that NumPy lacks (bfloat16, 8-bit floats) to
f32.  Other arrays are converted by NumPy's protocols or DLPack.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NonFiniteError, ShapeError

__all__ = ["as_array", "as_f32", "is_real", "not_real"]

REAL = "fiu"
"""The kinds of NumPy's real numbers; other libraries register theirs as kind V."""


def as_f32(values: ArrayLike, what: str = "`weights`") -> NDArray[np.float32]:
    """Any array of real numbers as f32, with the same shape.

    Args:
        values: an array, or nested lists, of real numbers.  f64 and large integers are
            rounded to the nearest f32.
        what: the name of the values in messages.

    Raises:
        ShapeError: the values are not an array of real numbers.
        NonFiniteError: a finite number is too large for f32.
    """
    array = as_array(values, what)
    if np.ma.is_masked(values):
        raise ShapeError(f"{what} is masked; fill the masked values")
    if not is_real(array.dtype):
        raise not_real(array.dtype, what)
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > floats.itemsize:
        for place in np.argwhere(np.isinf(floats) & np.isfinite(array))[:1]:
            raise NonFiniteError(
                f"{what} contains {array[tuple(place)]} at index {place.tolist()}, "
                "which is too large for f32"
            )
    return floats


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is of real numbers; ml_dtypes' have a scalar type."""
    is_other = dtype.kind == "V" and dtype.names is None and dtype.type is not np.void
    return dtype.kind in REAL or is_other


def not_real(dtype: object, what: str) -> ShapeError:
    """An array of something else."""
    return ShapeError(
        f"{what} is an array of {dtype}; expected real numbers, such as float32, "
        "float16 or bfloat16"
    )


def as_array(values: Any, what: str) -> NDArray[Any]:
    """Any array as a NumPy array.

    Raises:
        ShapeError: the values are not an array.
    """
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(values, torch.Tensor):
            return _of_torch(torch, values)
        if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
            return np.from_dlpack(values)
        if torch is not None and isinstance(values, list | tuple):
            values = [_item(torch, each) for each in values]
        return np.asarray(values)
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as e:
        reason = str(e).partition("\n")[0]
        raise ShapeError(f"{what} is not an array of numbers: {reason}") from None


def _item(torch: Any, value: Any) -> Any:
    """An item of a list, of which torch tensors become NumPy arrays."""
    return _of_torch(torch, value) if isinstance(value, torch.Tensor) else value


def _of_torch(torch: Any, tensor: Any) -> NDArray[Any]:
    """A torch tensor as a NumPy array, from any device, with or without gradients."""
    there = tensor.detach().cpu()
    if there.is_floating_point() and there.dtype not in (torch.float64, torch.float16):
        there = there.float()
    array: NDArray[Any] = there.resolve_neg().numpy()
    return array
