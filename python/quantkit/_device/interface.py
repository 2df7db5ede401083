"""What an array says of its memory on a device: `__cuda_array_interface__`, checked.

Versions 2 and 3 of the protocol are read, which CuPy, Numba, JAX and PyTorch speak:
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..settings import shown

__all__ = ["View", "has_interface", "view_of"]

VERSIONS = (2, 3)
LARGEST_ADDRESS = 2**64 - 1


@dataclass(frozen=True)
class View:
    """An array in device memory.

    Attributes:
        address: of the first item; 0 only if there is none.
        shape: the number of items along each axis.
        dtype: of the items.
        strides: bytes from one item to the next, for each axis.
        is_read_only: whether nothing may write there.
        stream: the CUDA stream on which the memory becomes ready; None: it is ready,
            or its library orders it.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    is_read_only: bool
    stream: int | None

    @property
    def is_contiguous(self) -> bool:
        """Whether the items are together, in C's order."""
        if 0 in self.shape:
            return True
        apart = contiguous_strides(self.shape, self.dtype.itemsize)
        return all(
            size == 1 or given == expected
            for size, given, expected in zip(
                self.shape, self.strides, apart, strict=True
            )
        )

    @property
    def is_aligned(self) -> bool:
        """Whether every item is at a multiple of its size."""
        size = self.dtype.itemsize
        return not any(step % size for step in (self.address, *self.strides))

    def __str__(self) -> str:
        unusual = {
            "read-only": self.is_read_only,
            "not aligned": not self.is_aligned,
            f"with strides {list(self.strides)}": not self.is_contiguous,
        }
        words = [
            f"{self.dtype} {list(self.shape)}",
            *(w for w in unusual if unusual[w]),
        ]
        return ", ".join(words)


def contiguous_strides(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The strides of an array in C's order, whose items have `size` bytes."""
    return tuple(size * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def has_interface(array: object) -> bool:
    """Whether an object says that it is in device memory.

    torch tensors on the CPU have the attribute too, but raise where it is read.
    """
    try:
        return isinstance(array.__cuda_array_interface__, dict)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False


def view_of(name: str, array: object) -> View:
    """The memory of an array.

    Args:
        name: the argument, for messages.
        array: has `__cuda_array_interface__`.

    Raises:
        ShapeError: it has none, or one that is not right, or a mask.
    """
    if not has_interface(array):
        raise ShapeError(
            f"{name} of a device call is of type {type(array).__name__}; expected an "
            "array in device memory, with __cuda_array_interface__"
        )
    try:
        return _parsed(array.__cuda_array_interface__)  # type: ignore[attr-defined]
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ShapeError(
            f"the __cuda_array_interface__ of {name} of a device call is not right: "
            f"{_reason(error)}"
        ) from None


def _parsed(interface: dict[str, Any]) -> View:
    """The view that an interface describes; raises what `view_of` catches."""
    if interface["version"] not in VERSIONS:
        version = shown(interface["version"])
        raise ValueError(f"its version is {version}; expected 2 or 3")
    if interface.get("mask") is not None:
        raise ValueError("the array is masked; fill the masked values")
    shape = tuple(map(index, interface["shape"]))
    dtype = np.dtype(interface["typestr"])
    address, is_read_only = interface["data"]
    address, strides = index(address), interface.get("strides")
    stream = interface.get("stream")
    if strides is None:
        strides = contiguous_strides(shape, dtype.itemsize)
    strides = tuple(map(index, strides))
    if min(shape, default=0) < 0 or len(strides) != len(shape) or not dtype.itemsize:
        raise ValueError(f"shape {list(shape)}, strides {list(strides)}, {dtype}")
    if not 0 <= address <= LARGEST_ADDRESS or (not address and 0 not in shape):
        raise ValueError(f"its address is {shown(address)}")
    if stream is not None and index(stream) <= 0:
        raise ValueError(f"its stream is {shown(stream)}; expected 1 or more")
    return View(address, shape, dtype, strides, bool(is_read_only), stream)


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
