"""Matrix products with weights in GGUF blocks, by the C core."""

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
def packing_for(type: QuantType, precision: Precision) -> int:
    """The packing of activations for weights of a type.

    Activations may be packed once for all weights whose types share a packing.
    """
    packing = ffi.new("qk_packing *")
    check_type(
        lib.qk_packing_for(type.id, int(precision), packing), type, type.block_size
    )
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
        type: of the weights.
        out: the product; its rows may be parts of longer ones.
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
    """What one product works in."""
    size = ffi.new("size_t *")
    lib.qk_matmul_workspace(backend.index, size)
    return int(size[0])
