"""Attention, and the scores by which it may choose its keys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .arguments import BYTE, FLOAT
from .places import Place, Runner, place_of

__all__ = ["attend", "index_scores"]

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def attend(
    q: F32,
    k: F32,
    v: F32,
    scale: float,
    backend: Runner,
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
    at = place_of(backend)
    n, n_heads, key_size = at.shape_of("q", q, 3)
    n_keys, n_kv_heads, value_size = at.shape_of("v", v, 3)
    if not n_kv_heads or n_heads % n_kv_heads:
        raise ShapeError(
            f"{n_heads} heads of queries cannot share {n_kv_heads} heads of keys"
        )
    if window is not None and window < 0:
        raise ShapeError(f"the window of attention is {window}; expected 0 or more")
    n_masks, seen = _mask(at, mask, n_kv_heads, n, n_keys)
    of_heads = (
        at.optional(FLOAT, "slopes", slopes, (n_heads,)),
        at.optional(FLOAT, "sinks", sinks, (n_heads,)),
    )
    out: F32 = at.empty((n, n_heads, value_size))
    what = at.new("qk_attention")
    what.n, what.n_keys = n, n_keys
    what.n_heads, what.n_kv_heads = n_heads, n_kv_heads
    what.key_size, what.value_size = key_size, value_size
    what.window, what.scale, what.cap = min(window or 0, n), scale, cap or 0
    what.slopes, what.sinks = of_heads
    what.mask, what.n_masks = seen, n_masks
    at.run(
        "attend",
        f"attention of queries {list(q.shape)} and values {list(v.shape)}",
        what,
        at.read(FLOAT, "q", q, (n, n_heads, key_size)),
        at.read(FLOAT, "k", k, (n_keys, n_kv_heads, key_size)),
        at.read(FLOAT, "v", v, (n_keys, n_kv_heads, value_size)),
        at.written(FLOAT, "out", out, out.shape),
    )
    return out


def _mask(
    at: Place, mask: Mask | None, n_kv_heads: int, n: int, n_keys: int
) -> tuple[int, object]:
    """The number of masks, and their memory."""
    if mask is None:
        if n != n_keys:
            raise ShapeError(f"{n} queries and {n_keys} keys; without a mask, as many")
        return 0, at.optional(BYTE, "mask", None, ())
    n_masks = at.shape_of("mask", mask, 3)[0]
    if n_masks not in (1, n_kv_heads) or mask.dtype != bool:
        raise ShapeError(
            f"a mask of {n_masks} heads of {mask.dtype} for {n_kv_heads} heads of keys"
        )
    return n_masks, at.read(BYTE, "mask", mask.view(np.uint8), (n_masks, n, n_keys))


def index_scores(
    q: F32, k: F32, weights: F32, backend: Runner, *, rectified: bool
) -> F32:
    """See `ops.index_scores`; all arrays are C-contiguous.

    Raises:
        ShapeError: an array does not fit the others: q [n, heads, size], k [keys,
            size], weights [n, heads].
    """
    at = place_of(backend)
    n, n_heads, size = at.shape_of("q", q, 3)
    n_keys = at.shape_of("k", k, 2)[0]
    out: F32 = at.empty((n, n_keys))
    what = at.new("qk_index")
    what.n, what.n_keys, what.n_heads, what.size = n, n_keys, n_heads, size
    what.rectified = rectified
    at.run(
        "index_scores",
        f"scores of queries {list(q.shape)} and keys {list(k.shape)}",
        what,
        at.read(FLOAT, "q", q, (n, n_heads, size)),
        at.read(FLOAT, "k", k, (n_keys, size)),
        at.read(FLOAT, "weights", weights, (n, n_heads)),
        at.written(FLOAT, "out", out, out.shape),
    )
    return out
