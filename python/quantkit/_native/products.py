"""Matrix products with weights in GGUF blocks, in the C core."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from ..types import QuantType
from .arguments import check_type, floats, octets, pointer, workspace
from .backend import Backend

__all__ = ["Packed", "Precision", "matmul", "pack_activations", "packing_for"]


class Precision(IntEnum):
    """The precision of activations in a native matrix product.

    F16, BF16 and F32 weights are always multiplied with f32 activations.
    """

    F32 = 0
    """Unchanged."""
    I16 = 1
    """16-bit codes with a scale per 32; the error in perplexity is negligible."""
    Q8 = 2
    """8-bit codes, as in llama.cpp's CPU path for the type of the weights."""


@dataclass(frozen=True)
class Packed:
    """Activations packed for a native matrix product.

    Attributes:
        data: the packed bytes, only for `matmul`.
        shape: (rows, columns) of the activations.
        packing: the packing; see `packing_for`.
        backend: the backend for which they are packed.
    """

    data: NDArray[np.uint8]
    shape: tuple[int, int]
    packing: int
    backend: Backend


@cache
def packing_for(type: QuantType, precision: Precision) -> int:
    """The packing of activations for weights of a type.

    Activations can be packed once for all weights whose types have the same packing.
    """
    packing = ffi.new("qk_packing *")
    check_type(
        lib.qk_packing_for(type.id, int(precision), packing), type, type.block_size
    )
    return int(packing[0])


def pack_activations(x: NDArray[np.float32], packing: int, backend: Backend) -> Packed:
    """Pack x f32 [rows, cols], C-contiguous.

    Raises:
        ShapeError: the columns are not a multiple of the weights' block.
    """
    rows, cols = x.shape
    size = ffi.new("size_t *")
    status = lib.qk_packed_bytes(backend.index, packing, rows, cols, size)
    if status == lib.QK_OK:
        data = np.empty(size[0], np.uint8)
        status = lib.qk_pack_activations(
            backend.index, packing, floats(x), rows, cols, pointer(data)
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
        type: the type of the weights.
        out: the product; its rows may be parts of longer rows.
    """
    rows, cols = x.shape
    stride = out.strides[0] // out.itemsize
    status = lib.qk_matmul(
        x.backend.index,
        type.id,
        x.packing,
        pointer(x.data),
        rows,
        octets(weights),
        len(weights),
        cols,
        ffi.cast("float *", out.ctypes.data),
        stride,
        pointer(workspace(_workspace_bytes(x.backend))),
    )
    check_type(status, type, cols)


@cache
def _workspace_bytes(backend: Backend) -> int:
    """The workspace of one product, in bytes."""
    size = ffi.new("size_t *")
    lib.qk_matmul_workspace(backend.index, size)
    return int(size[0])
