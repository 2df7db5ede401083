"""Matrix products of weights in blocks with activations as integer codes, on devices.

They have the bits of the processor's: see `csrc/cuda/ops/matmul.cu`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..types import QuantType
from .arguments import BYTE, FLOAT, read, shape_of, strided, written
from .calling import call, queue
from .loading import library
from .owners import owner_of
from .statuses import check_status, check_type

__all__ = ["Codes", "matmul", "pack_activations"]


@dataclass(frozen=True, eq=False)
class Codes:
    """Activations packed for products on their device.

    Attributes:
        data: uint8 [n], only for `matmul`.
        shape: (rows, columns) of the activations.
        packing: the packing; see `_native.packing_for`.
    """

    data: Any
    shape: tuple[int, int]
    packing: int


def pack_activations(x: Any, packing: int) -> Codes:
    """Pack x f32 [rows, cols] as codes with scales.

    Args:
        x: C-contiguous.
        packing: that of weights in blocks, in 16 or 8 bits; `_native.packing_for`.

    Raises:
        ShapeError: x does not fit, or its columns are not a multiple of those that
            share a scale.
        QuantkitError: there is no such packing.
        BackendError: CUDA failed.
    """
    rows, cols = shape_of("x", x, 2)
    what = f"activations {[rows, cols]}"
    n_bytes = _size("qkc_packed_bytes", packing, rows, cols, what=what)
    data = _empty(x, n_bytes)
    call(
        "qkc_pack_activations",
        packing,
        read(FLOAT, "x", x, (rows, cols)),
        rows,
        cols,
        written(BYTE, "packed activations", data, (n_bytes,)),
        on=x,
        what=what,
    )
    return Codes(data, (rows, cols), packing)


def matmul(x: Codes, weights: Any, type: QuantType, out: Any) -> None:
    """Multiply: out f32 [rows of x, n_rows] = x times the transpose of weights.

    The work is queued and not waited for.

    Args:
        x: activations, packed for the type.
        weights: uint8 [n_rows, row bytes], C-contiguous.
        type: the type of the weights, with blocks.
        out: the product; its rows may be parts of longer rows.

    Raises:
        ShapeError: an array does not fit.
        UnsupportedTypeError: the type has no blocks.
        QuantkitError: the activations are packed for other types.
        BackendError: CUDA failed.
    """
    rows, cols = x.shape
    n_rows = shape_of("weights", weights, 2)[0]
    size = library().ffi.new("size_t *")
    status = library().lib.qkc_matmul_workspace(type.id, n_rows, cols, size)
    check_type(status, "qkc_matmul_workspace", type, cols)
    n_bytes = int(size[0])
    workspace = _empty(weights, n_bytes)
    y, (stride,) = strided(FLOAT, "out", out, (rows, n_rows), write=True)
    packed = _size("qkc_packed_bytes", x.packing, rows, cols, what=f"{[rows, cols]}")
    status = queue(
        "qkc_matmul",
        type.id,
        x.packing,
        read(BYTE, "packed activations", x.data, (packed,)),
        rows,
        read(BYTE, "weights", weights, (n_rows, type.row_bytes(cols))),
        n_rows,
        cols,
        y,
        stride,
        written(BYTE, "workspace", workspace, (n_bytes,)),
        on=out,
    )
    check_type(status, "qkc_matmul", type, cols)


def _size(function: str, *arguments: int, what: str) -> int:
    """The bytes that a function of the library tells."""
    own = library()
    size = own.ffi.new("size_t *")
    check_status(getattr(own.lib, function)(*arguments, size), function, what)
    return int(size[0])


def _empty(beside: Any, n_bytes: int) -> Any:
    """Memory on the device of an array: uint8 [n_bytes]."""
    owner = owner_of(beside)
    with owner.current(beside):
        return owner.empty(beside, (n_bytes,), "uint8")
