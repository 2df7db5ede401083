"""Quantize and dequantize arrays where they are: in the memory of a CUDA device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _device
from ..errors import BackendError, OptionError, ShapeError
from ..types import QuantType
from .finite import may_overflow, refuse_overflow
from .given import as_f32
from .rows import check_importance, require_native
from .scaled_importance import scaled_importance
from .taking import given_back, is_on_device, taken

__all__ = [
    "bytes_on_host",
    "dequantize_there",
    "host_device",
    "importance_on_host",
    "quantize_there",
]

F32 = NDArray[np.float32]

PIECE_WEIGHTS = 1 << 24
"""Weights that are brought to main memory at a time, to look for overflow."""


def host_device(device: str | None, backend: str | None) -> int | None:
    """The number of the device that works on arrays in main memory; None: the CPU.

    Raises:
        OptionError: `device` is no name of a device, or `backend` is given with one.
        BackendError: the device cannot be used.
    """
    if device is None or _device.parse_device(device) is None:
        return None
    _refuse_backend(backend)
    return _device.chosen_device(device)


def quantize_there(
    weights: Any,
    type: QuantType,
    importance: ArrayLike | None,
    *,
    device: str | None,
    backend: str | None,
) -> tuple[Any, tuple[int, ...]]:
    """Quantize an array on its device; see `quantized.quantize`.

    Returns:
        The bytes, uint8 [rows, row bytes], as an array of the same library on the same
        device; and the shape of the weights.
    """
    _refuse_backend(backend)
    require_native(type, "quantize to")
    _need_library("`weights`")
    array = taken(weights, "float32", "`weights`")
    _check_device(array, device, "`weights`")
    shape = tuple(map(int, array.shape))
    if not shape:
        raise ShapeError(
            "cannot quantize a single number; expected an array [..., cols]"
        )
    rows = array.reshape(math.prod(shape[:-1]), shape[-1])
    row_bytes = type.row_bytes(shape[-1])
    owner = _device.owner_of(array)
    weighting = given = None
    if importance is not None:
        weighting = scaled_importance(importance_on_host(importance))
        check_importance(weighting, shape[-1])
    with owner.current(array), _device.device_errors("the quantized weights"):
        if weighting is not None:
            given = owner.copied(array, np.ascontiguousarray(weighting))
        out = owner.empty(array, (rows.shape[0], row_bytes), "uint8")
        _device.quantize_rows(rows, type, given, out)
        if may_overflow(_largest(rows), type, weighting):
            _refuse_overflow(rows, out, type, weighting)
        return given_back(out, weights), shape


def dequantize_there(
    data: Any,
    type: QuantType,
    shape: tuple[int, ...],
    *,
    device: str | None,
    backend: str | None,
) -> Any:
    """The weights of bytes on a device, there; see `quantized.dequantize`."""
    _refuse_backend(backend)
    require_native(type, "dequantize")
    _need_library("the tensor")
    array = taken(data, "uint8", "the tensor")
    _check_device(array, device, "the tensor")
    owner = _device.owner_of(array)
    with owner.current(array), _device.device_errors("the weights"):
        out = owner.empty(array, (array.shape[0], shape[-1]), "float32")
        _device.dequantize_rows(array, type, out)
        return given_back(out.reshape(shape), data)


def importance_on_host(importance: ArrayLike) -> F32:
    """Importance as f32 in main memory, wherever it is."""
    if is_on_device(importance):
        importance = _to_host(taken(importance, "float32", "`importance`"))
    return as_f32(importance, "`importance`")


def bytes_on_host(data: Any) -> NDArray[np.uint8]:
    """The bytes of a quantized tensor in main memory, wherever they are."""
    return _to_host(taken(data, "uint8", "the tensor")) if is_on_device(data) else data


def _to_host(array: Any) -> NDArray[Any]:
    """An array of a device, copied to main memory."""
    return _device.owner_of(array).on_host(array)


def _largest(rows: Any) -> float:
    """The largest absolute value."""
    return max(float(rows.max()), -float(rows.min())) if 0 not in rows.shape else 0.0


def _refuse_overflow(
    rows: Any, out: Any, type: QuantType, weighting: F32 | None
) -> None:
    """As `refuse_overflow`, with some rows at a time in main memory."""
    n_rows, n_cols = rows.shape
    step = max(1, PIECE_WEIGHTS // max(1, n_cols))
    for first in range(0, n_rows, step):
        piece = slice(first, first + step)
        refuse_overflow(
            *(_to_host(rows[piece]), _to_host(out[piece]), type, weighting),
            first_row=first,
        )


def _check_device(array: Any, device: str | None, what: str) -> None:
    """Check that the device of an array can be used, and is the one that is asked for.

    Raises:
        OptionError: it is another.
        BackendError: it cannot be used.
    """
    number = _device.owner_of(array).device(array) or 0
    wanted = number if device is None else _device.parse_device(device)
    if wanted == number:
        _device.usable_device(number)
        return
    here, there = _device.device_name(number), _device.device_name(wanted)
    raise OptionError(
        f'{what} is in the memory of {here}, and `device` is "{there}"; move the array '
        "there first, or leave `device` out"
    )


def _need_library(what: str) -> None:
    """Check that there is a CUDA library for an array on a device.

    Raises:
        BackendError: there is none; the message says that the CPU can do it, too.
    """
    try:
        _device.library()
    except BackendError as error:
        raise BackendError(
            f"{what} is in the memory of a CUDA device: {error}; or copy the array to "
            "main memory, for the CPU"
        ) from None


def _refuse_backend(backend: str | None) -> None:
    if backend is not None:
        raise OptionError(
            f"`backend` is {backend!r}, an instruction set of the CPU, and the work is "
            "for a CUDA device; leave one of them out"
        )
