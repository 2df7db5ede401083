"""What an array says of its memory on a device: `__cuda_array_interface__`, checked.

Versions 2 and 3 of the protocol are read, which CuPy, Numba, JAX and PyTorch speak:
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html
"""

from __future__ import annotations

import math
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..settings import shown

__all__ = ["View", "has_interface", "view_of"]

VERSIONS = (2, 3)
LARGEST_ADDRESS = 2**64 - 1


class View(NamedTuple):
    """An array in device memory.

    Attributes:
        address: of the first item; 0 only if there is none.
        shape: the number of items along each axis.
        dtype: of the items.
        given_strides: bytes from one item to the next, for each axis; None: the items
            are together, in C's order.
        is_read_only: whether nothing may write there.
        stream: the CUDA stream on which the memory becomes ready; None: it is ready,
            or its library orders it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    given_strides: tuple[int, ...] | None
    is_read_only: bool
    stream: int | None

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one item to the next, for each axis."""
        if self.given_strides is not None:
            return self.given_strides
        size, shape = self.dtype.itemsize, self.shape
        return tuple(size * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))

    @property
    def is_contiguous(self) -> bool:
        """Whether the items are together, in C's order."""
        if self.given_strides is None or 0 in self.shape:
            return True
        together = self._replace(given_strides=None).strides
        steps = zip(self.shape, self.strides, together, strict=True)
        return all(size == 1 or given == step for size, given, step in steps)

    @property
    def is_aligned(self) -> bool:
        """Whether every item is at a multiple of its size."""
        size = self.dtype.itemsize
        if self.given_strides is None:
            return self.address % size == 0
        return not any(step % size for step in (self.address, *self.given_strides))

    def __str__(self) -> str:
        unusual = {
            "read-only": self.is_read_only,
            "not aligned": not self.is_aligned,
            f"with strides {list(self.strides)}": not self.is_contiguous,
        }
        words = [word for word, is_so in unusual.items() if is_so]
        return ", ".join([f"{self.dtype} {list(self.shape)}", *words])


def interface_of(array: object) -> dict[str, Any] | None:
    """What an object says of its memory on a device; None: it is not there.

    torch tensors on the CPU have the attribute too, but raise where it is read.
    """
    try:
        told = array.__cuda_array_interface__  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def has_interface(array: object) -> bool:
    """Whether an object says that it is in device memory."""
    return interface_of(array) is not None


def view_of(name: str, array: object) -> View:
    """The memory of an array.

    Args:
        name: the argument, for messages.
        array: has `__cuda_array_interface__`.

    Raises:
        ShapeError: it has none, or one that is not right, or a mask.
    """
    told = interface_of(array)
    if told is None:
        raise ShapeError(
            f"{name} of a device call is of type {type(array).__name__}; expected an "
            "array in device memory, with __cuda_array_interface__"
        )
    try:
        return _parsed(told)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ShapeError(
            f"the __cuda_array_interface__ of {name} of a device call is not right: "
            f"{_reason(error)}"
        ) from None


def _parsed(told: dict[str, Any]) -> View:
    """The view that an interface describes; raises what `view_of` catches."""
    if told["version"] not in VERSIONS:
        raise ValueError(f"its version is {shown(told['version'])}; expected 2 or 3")
    if told.get("mask") is not None:
        raise ValueError("the array is masked; fill the masked values")
    shape, dtype = tuple(map(index, told["shape"])), np.dtype(told["typestr"])
    address, is_read_only = told["data"]
    address, strides, stream = index(address), told.get("strides"), told.get("stream")
    if strides is not None:
        strides = tuple(map(index, strides))
    if (
        min(shape, default=0) < 0
        or not dtype.itemsize
        or (strides is not None and len(strides) != len(shape))
    ):
        raise ValueError(f"it says {dtype} {list(shape)}, strides {strides}")
    if not 0 <= address <= LARGEST_ADDRESS or (not address and 0 not in shape):
        raise ValueError(f"its address is {shown(address)}")
    if stream is not None and index(stream) <= 0:
        raise ValueError(f"its stream is {shown(stream)}; expected 1 or more")
    return View(address, shape, dtype, strides, bool(is_read_only), stream)


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
