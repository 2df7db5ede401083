"""The only module that touches cffi: the C core as functions over NumPy arrays.

Arguments are arrays of the right dtype and shape, checked by the callers in arrays.py;
this module adds the choice of a backend and turns a status into an error.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ._core import ffi, lib
from .errors import (
    BackendError,
    NonFiniteError,
    QuantkitError,
    ShapeError,
    UnsupportedTypeError,
)
from .types import QuantType

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "Backend",
    "Packed",
    "Precision",
    "active_backend",
    "backends",
    "dequantize_rows",
    "matmul",
    "native_types",
    "needs_importance",
    "pack_activations",
    "packing_for",
    "quantize_rows",
]

ENVIRONMENT_VARIABLE = "QUANTKIT_BACKEND"


@dataclass(frozen=True)
class Backend:
    """The C core compiled for one instruction set.

    Attributes:
        name: "scalar", "avx2", "avx512" or "neon".
        lanes: blocks that it quantizes at once.
        usable: whether this machine can run it.
        index: its number in the C API, the best first.
    """

    name: str
    lanes: int
    usable: bool
    index: int


@cache
def backends() -> tuple[Backend, ...]:
    """The backends that are built in, the best first; the last is always "scalar".

    Example:
        >>> [b.name for b in backends()][-1]
        'scalar'
    """
    return tuple(
        Backend(
            name=ffi.string(lib.qk_backend_name(i)).decode(),
            lanes=lib.qk_backend_lanes(i),
            usable=bool(lib.qk_backend_usable(i)),
            index=i,
        )
        for i in range(lib.qk_backend_count())
    )


def active_backend(name: str | None = None) -> Backend:
    """The backend called `name`, or that `QUANTKIT_BACKEND` names, or the best.

    Raises:
        BackendError: the named backend is unknown, or this machine cannot run it.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE)
    if not name:
        return next(b for b in backends() if b.usable)
    for backend in backends():
        if backend.name == name.lower():
            if not backend.usable:
                raise BackendError(f"this machine cannot run the backend {name!r}")
            return backend
    known = ", ".join(b.name for b in backends())
    raise BackendError(f"unknown backend {name!r}; built in: {known}")


class Precision(IntEnum):
    """How exactly activations are held in a native matrix product.

    F16, BF16 and F32 weights are multiplied with f32 activations in every precision.
    """

    F32 = 0
    """As they are."""
    I16 = 1
    """16-bit codes, a scale per 32: exact for every purpose of perplexity."""
    Q8 = 2
    """8-bit codes, as llama.cpp's CPU path has them for the type of the weights."""


@dataclass(frozen=True)
class Packed:
    """Activations as a native matrix product reads them.

    Attributes:
        data: their bytes, of no use elsewhere.
        shape: (rows, columns) of the activations.
        packing: how they are packed; see `packing_for`.
        backend: the one that they are packed for.
    """

    data: NDArray[np.uint8]
    shape: tuple[int, int]
    packing: int
    backend: Backend


@cache
def needs_importance(type: QuantType) -> bool:
    """Whether a type cannot be quantized to without importance."""
    return bool(lib.qk_type_needs_importance(type.id))


@cache
def native_types() -> frozenset[QuantType]:
    """The types that the C core quantizes and dequantizes."""
    size = ffi.new("size_t[2]")
    return frozenset(
        t for t in QuantType if lib.qk_type_layout(t.id, size, size + 1) == lib.QK_OK
    )


def quantize_rows(
    x: NDArray[np.float32],
    type: QuantType,
    importance: NDArray[np.float32] | None,
    out: NDArray[np.uint8],
    backend: Backend,
) -> None:
    """Quantize x f32 [rows, cols] into out uint8 [rows, row bytes], C-contiguous."""
    rows, cols = x.shape
    bad = ffi.new("size_t *")
    weights = ffi.NULL if importance is None else _floats(importance)
    status = lib.qk_quantize_rows(
        backend.index, type.id, _floats(x), weights, rows, cols, _bytes(out), bad
    )
    if status == lib.QK_NOT_FINITE:
        row, column = divmod(bad[0], cols)
        raise NonFiniteError(
            f"the weight at row {row}, column {column} is {x[row, column]}; "
            "only finite weights can be quantized"
        )
    if status == lib.QK_BAD_IMPORTANCE and importance is not None:
        raise NonFiniteError(
            f"the importance of column {bad[0]} is {importance[bad[0]]}; "
            "it must be finite and not negative"
        )
    if status == lib.QK_NEEDS_IMPORTANCE:
        raise UnsupportedTypeError(
            f"{type.name} cannot be quantized to without importance: pass the mean "
            "square of each column's activations, as an importance matrix (imatrix) "
            "holds it"
        )
    _check(status, type, cols)


def dequantize_rows(
    data: NDArray[np.uint8],
    type: QuantType,
    out: NDArray[np.float32],
    backend: Backend,
) -> None:
    """Dequantize data uint8 [rows, row bytes] into out f32 [rows, cols]."""
    rows, cols = out.shape
    status = lib.qk_dequantize_rows(
        backend.index, type.id, _bytes(data), rows, cols, _floats(out)
    )
    _check(status, type, cols)


@cache
def packing_for(type: QuantType, precision: Precision) -> int:
    """The packing of activations for weights of a type.

    Activations may be packed once for all weights whose types share a packing.
    """
    packing = ffi.new("qk_packing *")
    _check(lib.qk_packing_for(type.id, int(precision), packing), type, type.block_size)
    return int(packing[0])


def pack_activations(x: NDArray[np.float32], packing: int, backend: Backend) -> Packed:
    """Pack x f32 [rows, cols], C-contiguous.

    Raises:
        ShapeError: the columns are not a whole number of the blocks of such weights.
    """
    rows, cols = x.shape
    size = ffi.new("size_t *")
    status = lib.qk_packed_bytes(backend.index, packing, rows, cols, size)
    if status == lib.QK_OK:
        data = np.empty(size[0], np.uint8)
        status = lib.qk_pack_activations(
            backend.index, packing, _floats(x), rows, cols, _pointer(data)
        )
    if status != lib.QK_OK:
        raise ShapeError(
            f"activations of shape {x.shape} cannot be packed for blocks of weights: "
            f"status {status}"
        )
    return Packed(data, (rows, cols), packing, backend)


def matmul(
    x: Packed, weights: NDArray[np.uint8], type: QuantType, out: NDArray[np.float32]
) -> None:
    """Multiply: out f32 [rows of x, n_rows] = x times the transpose of weights.

    Args:
        x: activations, packed with `packing_for(type, ...)`.
        weights: uint8 [n_rows, row bytes], C-contiguous.
        type: of the weights.
        out: the product; its rows may be parts of longer ones.
    """
    rows, cols = x.shape
    stride = out.strides[0] // out.itemsize
    status = lib.qk_matmul(
        x.backend.index,
        type.id,
        x.packing,
        _pointer(x.data),
        rows,
        _bytes(weights),
        len(weights),
        cols,
        ffi.cast("float *", out.ctypes.data),
        stride,
        _pointer(_workspace(x.backend)),
    )
    _check(status, type, cols)


class _Workspaces(threading.local):
    """Memory for one product at a time of each thread, by the backend's number."""

    def __init__(self) -> None:
        self.known: dict[int, NDArray[np.uint8]] = {}


_workspaces = _Workspaces()


def _workspace(backend: Backend) -> NDArray[np.uint8]:
    """This thread's."""
    known = _workspaces.known
    if backend.index not in known:
        size = ffi.new("size_t *")
        lib.qk_matmul_workspace(backend.index, size)
        known[backend.index] = np.empty(size[0], np.uint8)
    return known[backend.index]


def _pointer(array: NDArray[np.uint8]) -> object:
    return ffi.cast("void *", array.ctypes.data)


def _floats(array: NDArray[np.float32]) -> object:
    return ffi.from_buffer("float[]", array)


def _bytes(array: NDArray[np.uint8]) -> object:
    return ffi.from_buffer("uint8_t[]", array)


def _check(status: int, type: QuantType, n_cols: int) -> None:
    if status == lib.QK_BAD_SHAPE:
        raise ShapeError(
            f"a row of {n_cols} weights does not fit {type.name}'s block "
            f"of {type.block_size}"
        )
    if status == lib.QK_UNKNOWN_PACKING:
        raise QuantkitError(
            f"activations so packed cannot be multiplied with {type.name} weights; "
            "pack them with packing_for that type"
        )
    if status != lib.QK_OK:
        raise QuantkitError(f"the native core refused {type.name}: status {status}")
