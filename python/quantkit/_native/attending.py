"""Causal attention in the C core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import FLOAT, optional, pointer, read, shape_of, workspace, written
from .backend import Backend
from .statuses import check_status

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
    """See `ops.attention`; all arrays are C-contiguous.

    Raises:
        ShapeError: an array does not fit the others: q [n, heads, key size], k [n, KV
            heads, key size], v [n, KV heads, value size], slopes and sinks [heads].
    """
    n, n_heads, key_size = shape_of("q", q, 3)
    n_kv_heads, value_size = shape_of("v", v, 3)[1:]
    if not n_kv_heads or n_heads % n_kv_heads:
        raise ShapeError(
            f"{n_heads} heads of queries cannot share {n_kv_heads} heads of keys"
        )
    if window is not None and window < 0:
        raise ShapeError(f"the window of attention is {window}; expected 0 or more")
    of_heads = (
        optional(FLOAT, "slopes", slopes, (n_heads,)),
        optional(FLOAT, "sinks", sinks, (n_heads,)),
    )
    out = np.empty((n, n_heads, value_size), np.float32)
    what = ffi.new("qk_attention *")
    what.n, what.n_heads, what.n_kv_heads = n, n_heads, n_kv_heads
    what.key_size, what.value_size = key_size, value_size
    what.window, what.scale, what.cap = min(window or 0, n), scale, cap or 0
    what.slopes, what.sinks = of_heads
    size = ffi.new("size_t *")
    sizes = f"attention of queries {list(q.shape)} and values {list(v.shape)}"
    check_status(lib.qk_attention_workspace(backend.index, what, size), sizes)
    status = lib.qk_attend(
        backend.index,
        what,
        read(FLOAT, "q", q, (n, n_heads, key_size)),
        read(FLOAT, "k", k, (n, n_kv_heads, key_size)),
        read(FLOAT, "v", v, (n, n_kv_heads, value_size)),
        written(FLOAT, "out", out, out.shape),
        pointer(workspace(size[0])),
    )
    check_status(status, sizes)
    return out
