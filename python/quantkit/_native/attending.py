"""Attention, and the scores by which it may choose its keys, in the C core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import (
    BYTE,
    FLOAT,
    optional,
    pointer,
    read,
    shape_of,
    workspace,
    written,
)
from .backend import Backend
from .statuses import check_status

__all__ = ["attend", "index_scores"]

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def attend(
    q: F32,
    k: F32,
    v: F32,
    scale: float,
    backend: Backend,
    *,
    window: int | None = None,
    mask: Mask | None = None,
    cap: float | None = None,
    slopes: F32 | None = None,
    sinks: F32 | None = None,
) -> F32:
    """See `ops.attention`; all arrays are C-contiguous.

    Raises:
        ShapeError: an array does not fit the others: q [n, heads, key size], k [keys,
            KV heads, key size], v [keys, KV heads, value size], slopes and sinks
            [heads], mask [1 or KV heads, n, keys]; without a mask, keys are n.
    """
    n, n_heads, key_size = shape_of("q", q, 3)
    n_keys, n_kv_heads, value_size = shape_of("v", v, 3)
    if not n_kv_heads or n_heads % n_kv_heads:
        raise ShapeError(
            f"{n_heads} heads of queries cannot share {n_kv_heads} heads of keys"
        )
    if window is not None and window < 0:
        raise ShapeError(f"the window of attention is {window}; expected 0 or more")
    n_masks, seen = _mask(mask, n_kv_heads, n, n_keys)
    of_heads = (
        optional(FLOAT, "slopes", slopes, (n_heads,)),
        optional(FLOAT, "sinks", sinks, (n_heads,)),
    )
    out = np.empty((n, n_heads, value_size), np.float32)
    what = ffi.new("qk_attention *")
    what.n, what.n_keys = n, n_keys
    what.n_heads, what.n_kv_heads = n_heads, n_kv_heads
    what.key_size, what.value_size = key_size, value_size
    what.window, what.scale, what.cap = min(window or 0, n), scale, cap or 0
    what.slopes, what.sinks = of_heads
    what.mask, what.n_masks = seen, n_masks
    size = ffi.new("size_t *")
    sizes = f"attention of queries {list(q.shape)} and values {list(v.shape)}"
    check_status(lib.qk_attention_workspace(backend.index, what, size), sizes)
    status = lib.qk_attend(
        backend.index,
        what,
        read(FLOAT, "q", q, (n, n_heads, key_size)),
        read(FLOAT, "k", k, (n_keys, n_kv_heads, key_size)),
        read(FLOAT, "v", v, (n_keys, n_kv_heads, value_size)),
        written(FLOAT, "out", out, out.shape),
        pointer(workspace(size[0])),
    )
    check_status(status, sizes)
    return out


def _mask(
    mask: Mask | None, n_kv_heads: int, n: int, n_keys: int
) -> tuple[int, object]:
    """The number of masks, and their memory."""
    if mask is None:
        if n != n_keys:
            raise ShapeError(f"{n} queries and {n_keys} keys; without a mask, as many")
        return 0, optional(BYTE, "mask", None, ())
    n_masks = shape_of("mask", mask, 3)[0]
    if n_masks not in (1, n_kv_heads) or mask.dtype != bool:
        raise ShapeError(
            f"a mask of {n_masks} heads of {mask.dtype} for {n_kv_heads} heads of keys"
        )
    return n_masks, read(BYTE, "mask", mask.view(np.uint8), (n_masks, n, n_keys))


def index_scores(
    q: F32, k: F32, weights: F32, backend: Backend, *, rectified: bool
) -> F32:
    """See `ops.index_scores`; all arrays are C-contiguous.

    Raises:
        ShapeError: an array does not fit the others: q [n, heads, size], k [keys,
            size], weights [n, heads].
    """
    n, n_heads, size = shape_of("q", q, 3)
    n_keys = shape_of("k", k, 2)[0]
    out = np.empty((n, n_keys), np.float32)
    what = ffi.new("qk_index *")
    what.n, what.n_keys, what.n_heads, what.size = n, n_keys, n_heads, size
    what.rectified = rectified
    n_bytes = ffi.new("size_t *")
    sizes = f"scores of queries {list(q.shape)} and keys {list(k.shape)}"
    check_status(lib.qk_index_workspace(backend.index, what, n_bytes), sizes)
    status = lib.qk_index_scores(
        backend.index,
        what,
        read(FLOAT, "q", q, (n, n_heads, size)),
        read(FLOAT, "k", k, (n_keys, size)),
        read(FLOAT, "weights", weights, (n, n_heads)),
        written(FLOAT, "out", out, out.shape),
        pointer(workspace(n_bytes[0])),
    )
    check_status(status, sizes)
    return out
