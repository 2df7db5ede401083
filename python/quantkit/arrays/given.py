"""What users pass as numbers, as f32 arrays: NumPy, lists, torch, jax, ml_dtypes.

Nothing is imported that the user has not imported.  A torch tensor is detached and
brought to the CPU; the formats that NumPy lacks (bfloat16, 8-bit floats) become f32 by
torch itself.  Anything else comes by NumPy's own protocols, or by DLPack.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NonFiniteError, ShapeError

__all__ = ["as_array", "as_f32"]

REAL = "fiu"
"""The kinds of NumPy's real numbers; other libraries register theirs as kind V."""


def as_f32(values: ArrayLike, what: str = "`weights`") -> NDArray[np.float32]:
    """Any real array as f32, of the same shape.

    Args:
        values: an array, or nested lists, of real numbers.  Those that f32 does not
            hold exactly (f64, large integers) are rounded to the nearest it does.
        what: how messages call them.

    Raises:
        ShapeError: they are no array of real numbers.
        NonFiniteError: a finite number is too large for f32.
    """
    array = as_array(values, what)
    if np.ma.is_masked(values):
        raise ShapeError(f"{what} is masked; fill what the mask hides")
    if not _is_real(array.dtype):
        raise ShapeError(
            f"{what} is an array of {array.dtype}; expected real numbers, such as "
            "float32, float16 or bfloat16"
        )
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > floats.itemsize:
        for place in np.argwhere(np.isinf(floats) & np.isfinite(array))[:1]:
            raise NonFiniteError(
                f"{what} holds {array[tuple(place)]} at index {place.tolist()}, which "
                "32-bit numbers cannot hold"
            )
    return floats


def _is_real(dtype: np.dtype[Any]) -> bool:
    """Whether an array is of real numbers; those of ml_dtypes have a scalar type."""
    is_other = dtype.kind == "V" and dtype.names is None and dtype.type is not np.void
    return dtype.kind in REAL or is_other


def as_array(values: Any, what: str) -> NDArray[Any]:
    """Any array as NumPy has it.

    Raises:
        ShapeError: it is none.
    """
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(values, torch.Tensor):
            return _of_torch(torch, values)
        if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
            return np.from_dlpack(values)
        return np.asarray(values)
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as e:
        reason = str(e).partition("\n")[0]
        raise ShapeError(f"{what} is no array of numbers: {reason}") from None


def _of_torch(torch: Any, tensor: Any) -> NDArray[Any]:
    """A torch tensor, from any device, whether it is being trained or not."""
    there = tensor.detach().cpu()
    if there.is_floating_point() and there.dtype not in (torch.float64, torch.float16):
        there = there.float()
    array: NDArray[Any] = there.resolve_neg().numpy()
    return array
