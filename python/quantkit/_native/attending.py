"""Causal attention in the C core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import floats, pointer, workspace
from .backend import Backend

__all__ = ["attend"]

F32 = NDArray[np.float32]


def attend(
    q: F32,
    k: F32,
    v: F32,
    scale: float,
    backend: Backend,
    *,
    window: int | None = None,
    cap: float | None = None,
    slopes: F32 | None = None,
    sinks: F32 | None = None,
) -> F32:
    """See `ops.attention`; all arrays are C-contiguous."""
    n, n_heads, key_size = q.shape
    value_size = v.shape[-1]
    what = ffi.new("qk_attention *")
    what.n, what.n_heads, what.n_kv_heads = n, n_heads, k.shape[1]
    what.key_size, what.value_size = key_size, value_size
    what.window, what.scale, what.cap = window or 0, scale, cap or 0
    what.slopes = ffi.NULL if slopes is None else floats(slopes)
    what.sinks = ffi.NULL if sinks is None else floats(sinks)
    out = np.empty((n, n_heads, value_size), np.float32)
    size = ffi.new("size_t *")
    status = lib.qk_attention_workspace(backend.index, what, size)
    if status == lib.QK_OK:
        space = pointer(workspace(size[0]))
        status = lib.qk_attend(
            backend.index, what, floats(q), floats(k), floats(v), floats(out), space
        )
    if status != lib.QK_OK:
        raise ShapeError(
            f"{n_heads} heads of queries cannot share {k.shape[1]} heads of keys: "
            f"status {status}"
        )
    return out
