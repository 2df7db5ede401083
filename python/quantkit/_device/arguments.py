"""Pass arrays in device memory to the CUDA library: the only place that does.

The library believes the sizes that it is told.  So every array goes through `read`,
`written` or `strided`, as arrays in main memory do (`_native/arguments.py`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .._native.arguments import (
    BYTE,
    DOUBLE,
    FLOAT,
    INT32,
    TOKEN,
    TURN,
    CType,
)
from ..errors import ShapeError
from .interface import View, view_of

__all__ = [
    "BYTE",
    "DOUBLE",
    "FLOAT",
    "HALF",
    "INT32",
    "TOKEN",
    "TURN",
    "CType",
    "memory",
    "optional",
    "read",
    "shape_of",
    "strided",
    "written",
]

HALF = CType.of(np.float16, "uint16_t")


def shape_of(name: str, array: object, axes: int | None = None) -> tuple[int, ...]:
    """The shape of a device array with this number of axes; None: any but 0.

    Raises:
        ShapeError: it is no device array, or has another number of axes.
    """
    view = view_of(name, array)
    n_axes = len(view.shape)
    if n_axes != (axes or n_axes or 1):
        raise ShapeError(
            f"{name} of a device call is {view}; expected an array with "
            f"{axes or 'some'} axes"
        )
    return view.shape


def read(kind: CType, name: str, array: object, shape: tuple[int, ...]) -> object:
    """The memory of an array that the library reads.

    The caller keeps the array alive.

    Args:
        kind: what the array is made of.
        name: the argument, for messages.
        array: C-contiguous and aligned.
        shape: the shape that it must have.

    Raises:
        ShapeError: the library would not find there what it reads.
    """
    view = _fit(kind, name, array, shape)
    if not view.is_contiguous:
        raise _unfit(kind, name, view, shape)
    return memory(view.address)


def optional(
    kind: CType, name: str, array: object | None, shape: tuple[int, ...]
) -> object:
    """As `read`, or NULL for None."""
    return memory(0) if array is None else read(kind, name, array, shape)


def written(kind: CType, name: str, array: object, shape: tuple[int, ...]) -> object:
    """As `read`, for an array that the library writes: not read-only."""
    address = read(kind, name, array, shape)
    _refuse_read_only(kind, name, array, shape)
    return address


def strided(
    kind: CType,
    name: str,
    array: object,
    shape: tuple[int, ...],
    *,
    write: bool = False,
) -> tuple[object, tuple[int, ...]]:
    """The memory of an array whose rows are contiguous, and apart.

    Args:
        kind: what the array is made of.
        name: the argument, for messages.
        array: only its last axis must be contiguous.
        shape: the shape that it must have.
        write: whether the library writes to it.

    Returns:
        The memory, and the items from one row to the next, for each axis but the last.

    Raises:
        ShapeError: the library would not find there what it reads or writes.
    """
    view, size = _fit(kind, name, array, shape), kind.dtype.itemsize
    if write:
        _refuse_read_only(kind, name, array, shape)
    steps = []
    for axis, step in enumerate(view.strides):
        if shape[axis] <= 1 or 0 in shape:  # strides mean nothing there
            step = size * max(shape[-1], 1) if axis < len(shape) - 1 else size
        if step < 0:
            raise _unfit(kind, name, view, shape)
        steps.append(step // size)
    if steps[-1] != 1:
        raise _unfit(kind, name, view, shape)
    return memory(view.address), tuple(steps[:-1])


def memory(address: int) -> object:
    """An address as C's `void *`, which stands for a pointer of every kind."""
    return _ffi().cast("void *", address)


@cache
def _ffi() -> Any:
    from cffi import FFI

    return FFI()


def _fit(kind: CType, name: str, array: object, shape: tuple[int, ...]) -> View:
    """The view of an array that is made of a kind, has a shape and is aligned."""
    view = view_of(name, array)
    if view.dtype != kind.dtype or view.shape != shape or not view.is_aligned:
        raise _unfit(kind, name, view, shape)
    return view


def _refuse_read_only(
    kind: CType, name: str, array: object, shape: tuple[int, ...]
) -> None:
    view = view_of(name, array)
    if view.is_read_only:
        raise _unfit(kind, name, view, shape)


def _unfit(kind: CType, name: str, view: View, shape: tuple[int, ...]) -> ShapeError:
    return ShapeError(
        f"{name} of a device call is {view}; expected {kind.dtype} {list(shape)}"
    )
