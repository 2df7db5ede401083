"""Quantize and dequantize rows in main memory, which pass through a device.

A pipe has pinned memory, device memory and two streams, and is for one thread at a
time.  Making one takes longer than a slab of rows, so pipes are kept while files are
written (`kept_pipes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import bad_importance, bad_weight, lacking_importance, needs_importance
from .._native.arguments import BYTE, FLOAT, optional, read, shape_of, written
from ..types import QuantType
from .loading import library
from .naming import device_name
from .statuses import check_status, check_type
from .support import device_in_use

__all__ = ["dequantize_host_rows", "kept_pipes", "quantize_host_rows"]

F32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

PIPE_BYTES = 1 << 26
"""The most device memory of a pipe, and the most pinned memory: there may be a pipe for
each thread, and pinned memory takes long to be had."""


def quantize_host_rows(
    x: F32, type: QuantType, importance: F32 | None, out: Bytes, device: int
) -> None:
    """Quantize x f32 [rows, cols] into out uint8 [rows, row bytes], C-contiguous.

    Raises:
        ShapeError: an array does not fit; importance is f32 [cols] or None.
        NonFiniteError: a weight or an importance is NaN or infinite.
        UnsupportedTypeError: the type requires importance.
        BackendError: CUDA failed.
    """
    rows, cols = shape_of("x", x, 2)
    if importance is None and needs_importance(type):
        raise lacking_importance(type)
    own = library()
    bad = own.ffi.new("int64_t *")
    with _pipe(device) as pipe:
        status = own.lib.qkc_quantize_host(
            pipe,
            type.id,
            read(FLOAT, "x", x, (rows, cols)),
            optional(FLOAT, "importance", importance, (cols,)),
            rows,
            cols,
            written(BYTE, "out", out, (rows, type.row_bytes(cols))),
            bad,
        )
        if status == own.lib.QKC_NOT_FINITE:
            row, column = divmod(int(bad[0]), cols)
            raise bad_weight(row, column, x[row, column])
        if status == own.lib.QKC_BAD_IMPORTANCE and importance is not None:
            raise bad_importance(bad[0], importance[bad[0]])
        check_type(status, "qkc_quantize_host", type, cols)


def dequantize_host_rows(data: Bytes, type: QuantType, out: F32, device: int) -> None:
    """Dequantize data uint8 [rows, row bytes] into out f32 [rows, cols].

    Raises:
        ShapeError: an array does not fit.
        BackendError: CUDA failed.
    """
    rows, cols = shape_of("out", out, 2)
    with _pipe(device) as pipe:
        status = library().lib.qkc_dequantize_host(
            pipe,
            type.id,
            read(BYTE, "data", data, (rows, type.row_bytes(cols))),
            rows,
            cols,
            written(FLOAT, "out", out, (rows, cols)),
        )
        check_type(status, "qkc_dequantize_host", type, cols)


class _Kept:
    """The pipes of a device that wait for their next rows.

    Attributes:
        keepers: how many blocks of `kept_pipes` are running.
        idle: the pipes; none without a keeper.
    """

    def __init__(self) -> None:
        self.keepers = 0
        self.idle: list[Any] = []


_kept: dict[int, _Kept] = {}
_lock = Lock()


@contextmanager
def kept_pipes(device: int | None) -> Iterator[None]:
    """Keep the pipes of a device for further rows, until the end of the block.

    None: there is no device, and nothing is kept.
    """
    if device is None:
        yield
        return
    with _lock:
        kept = _kept.setdefault(device, _Kept())
        kept.keepers += 1
    try:
        yield
    finally:
        with _lock:
            kept.keepers -= 1
            idle = [] if kept.keepers else kept.idle
            if not kept.keepers:
                kept.idle = []
        for pipe in idle:
            _close(pipe)


@contextmanager
def _pipe(device: int) -> Iterator[Any]:
    """A pipe for this thread alone; after an error it is closed."""
    with _lock:
        kept = _kept.setdefault(device, _Kept())
        pipe = kept.idle.pop() if kept.idle else None
    if pipe is None:
        pipe = _opened(device)
    try:
        yield pipe
    except BaseException:
        _close(pipe)
        raise
    with _lock:
        if kept.keepers:
            kept.idle.append(pipe)
            return
    _close(pipe)


def _opened(device: int) -> Any:
    own = library()
    made = own.ffi.new("qkc_pipe **")
    with device_in_use(device):
        status = own.lib.qkc_pipe_open(PIPE_BYTES, made)
    check_status(status, "qkc_pipe_open", device_name(device))
    return made[0]


def _close(pipe: Any) -> None:
    library().lib.qkc_pipe_close(pipe)  # what it waits for was checked before
