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
from .arguments import BYTE, FLOAT, pointer, read, shape_of, strided, workspace
from .backend import Backend
from .statuses import check_status, check_type

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
        ShapeError: x does not fit, or its columns are not a multiple of the weights'
            block.
    """
    rows, cols = shape_of("x", x, 2)
    data = np.empty(_packed_bytes(backend, packing, rows, cols), np.uint8)
    status = lib.qk_pack_activations(
        backend.index,
        packing,
        read(FLOAT, "x", x, (rows, cols)),
        rows,
        cols,
        pointer(data),
    )
    check_status(status, f"activations {[rows, cols]}")
    return Packed(data, (rows, cols), packing, backend)


def _packed_bytes(backend: Backend, packing: int, rows: int, cols: int) -> int:
    """The size of packed activations [rows, cols]."""
    size = ffi.new("size_t *")
    status = lib.QK_BAD_SHAPE
    if min(rows, cols) >= 0:
        status = lib.qk_packed_bytes(backend.index, packing, rows, cols, size)
    if status == lib.QK_BAD_SHAPE:
        raise ShapeError(
            f"activations {[rows, cols]} cannot be packed for blocks of weights"
        )
    check_status(status, f"activations {[rows, cols]} with packing {packing}")
    return int(size[0])


def matmul(
    x: Packed, weights: NDArray[np.uint8], type: QuantType, out: NDArray[np.float32]
) -> None:
    """Multiply: out f32 [rows of x, n_rows] = x times the transpose of weights.

    Args:
        x: activations, packed with `packing_for(type, ...)`.
        weights: uint8 [n_rows, row bytes], C-contiguous.
        type: the type of the weights.
        out: the product; its rows may be parts of longer rows.

    Raises:
        ShapeError: an array does not fit.
        QuantkitError: the activations are packed for other types.
    """
    rows, cols = x.shape
    n_rows = shape_of("weights", weights, 2)[0]
    packed = (_packed_bytes(x.backend, x.packing, rows, cols),)
    y, (stride,) = strided(FLOAT, "out", out, (rows, n_rows), write=True)
    status = lib.qk_matmul(
        x.backend.index,
        type.id,
        x.packing,
        read(BYTE, "packed activations", x.data, packed),
        rows,
        read(BYTE, "weights", weights, (n_rows, type.row_bytes(cols))),
        n_rows,
        cols,
        y,
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
