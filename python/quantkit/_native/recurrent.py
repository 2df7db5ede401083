"""Recurrent layers in the C core: a state starts at 0, and each position changes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core import ffi, lib
from ..errors import ShapeError
from .arguments import FLOAT, optional, pointer, read, shape_of, workspace, written
from .backend import Backend
from .statuses import check_status

__all__ = ["recur", "selective_scan", "short_convolution", "wkv7"]

F32 = NDArray[np.float32]


def short_convolution(x: F32, weight: F32, bias: F32 | None, backend: Backend) -> F32:
    """Causal convolution of each channel of x [n, channels]; all C-contiguous.

    Args:
        x: the channels, before the first position 0.
        weight: [taps, channels], the last tap for the position itself.
        bias: [channels], added.
        backend: the backend to use.

    Raises:
        ShapeError: an array does not fit.
    """
    n, n_channels = shape_of("x", x, 2)
    n_taps = shape_of("weight", weight, 2)[0]
    memory = (
        read(FLOAT, "weight", weight, (n_taps, n_channels)),
        optional(FLOAT, "bias", bias, (n_channels,)),
    )
    y = np.empty((n, n_channels), np.float32)
    what = ffi.new("qk_convolution *")
    what.n, what.n_channels, what.n_taps = n, n_channels, n_taps
    what.weight, what.bias = memory
    source, result = read(FLOAT, "x", x, x.shape), written(FLOAT, "y", y, y.shape)
    status = lib.qk_short_convolution(backend.index, what, source, result)
    check_status(status, f"a convolution of {list(x.shape)} with {n_taps} taps")
    return y


def recur(
    q: F32,
    k: F32,
    v: F32,
    decay: F32,
    beta: F32 | None,
    scale: float,
    backend: Backend,
) -> F32:
    """The delta rule with decay, or linear attention without `beta`; all C-contiguous.

    Args:
        q, k: [n, key heads, key size]; head h uses key head h // (heads / key heads).
        v: [n, heads, value size].
        decay: [n, heads, 1] or [n, heads, key size], logarithms.
        beta: [n, heads], how much of the difference to the value is learnt, or None.
        scale: multiplies the queries.
        backend: the backend to use.

    Returns:
        [n, heads, value size]; see `ops.gated_delta` and `ops.state_space`.

    Raises:
        ShapeError: an array does not fit.
    """
    n, n_heads, value_size = shape_of("v", v, 3)
    n_key_heads, key_size = shape_of("k", k, 3)[1:]
    if not n_key_heads or n_heads % n_key_heads:
        raise ShapeError(
            f"{n_heads} heads of values cannot share {n_key_heads} heads of keys"
        )
    decay_size = shape_of("decay", decay, 3)[2]
    of_heads = optional(FLOAT, "beta", beta, (n, n_heads))
    out = np.empty(v.shape, np.float32)
    what = ffi.new("qk_recurrence *")
    what.n, what.n_heads, what.n_key_heads = n, n_heads, n_key_heads
    what.key_size, what.value_size, what.decay_size = key_size, value_size, decay_size
    what.scale, what.beta = scale, of_heads
    size = ffi.new("size_t *")
    sizes = f"a recurrence of keys {list(k.shape)}, values {list(v.shape)} and "
    sizes += f"decays {list(decay.shape)}"
    check_status(lib.qk_recurrence_workspace(backend.index, what, size), sizes)
    status = lib.qk_recur(
        backend.index,
        what,
        read(FLOAT, "q", q, (n, n_key_heads, key_size)),
        read(FLOAT, "k", k, (n, n_key_heads, key_size)),
        read(FLOAT, "v", v, (n, n_heads, value_size)),
        read(FLOAT, "decay", decay, (n, n_heads, decay_size)),
        written(FLOAT, "out", out, out.shape),
        pointer(workspace(size[0])),
    )
    check_status(status, sizes)
    return out


def selective_scan(
    x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32, backend: Backend
) -> F32:
    """Mamba's scan of each channel of x [n, channels]; all C-contiguous.

    Args:
        x, dt: [n, channels].
        a: [channels, states].
        b, c: [n, states].
        d: [channels].
        backend: the backend to use.

    Returns:
        [n, channels]; see `ops.selective_scan`.

    Raises:
        ShapeError: an array does not fit.
    """
    n, n_channels = shape_of("x", x, 2)
    n_states = shape_of("b", b, 2)[1]
    y = np.empty(x.shape, np.float32)
    what, given = ffi.new("qk_scan *"), ffi.new("qk_scan_inputs *")
    what.n, what.n_channels, what.n_states = n, n_channels, n_states
    memory = (
        read(FLOAT, "x", x, (n, n_channels)),
        read(FLOAT, "dt", dt, (n, n_channels)),
        read(FLOAT, "a", a, (n_channels, n_states)),
        read(FLOAT, "b", b, (n, n_states)),
        read(FLOAT, "c", c, (n, n_states)),
        read(FLOAT, "d", d, (n_channels,)),
    )
    given.x, given.dt, given.a, given.b, given.c, given.d = memory
    size = ffi.new("size_t *")
    sizes = f"a scan of {list(x.shape)} with {n_states} states"
    check_status(lib.qk_scan_workspace(backend.index, what, size), sizes)
    status = lib.qk_selective_scan(
        backend.index,
        what,
        given,
        written(FLOAT, "y", y, y.shape),
        pointer(workspace(size[0])),
    )
    check_status(status, sizes)
    return y


def wkv7(
    r: F32, decay: F32, k: F32, v: F32, removed: F32, renewed: F32, backend: Backend
) -> F32:
    """The states of RWKV-7's heads; all C-contiguous.

    Args:
        r, decay, k, removed, renewed: [n, heads, key size].
        v: [n, heads, value size].
        backend: the backend to use.

    Returns:
        [n, heads, value size]; see `ops.wkv7`.

    Raises:
        ShapeError: an array does not fit.
    """
    n, n_heads, key_size = keys = shape_of("k", k, 3)
    value_size = shape_of("v", v, 3)[2]
    out = np.empty(v.shape, np.float32)
    what, given = ffi.new("qk_wkv *"), ffi.new("qk_wkv_inputs *")
    what.n, what.n_heads = n, n_heads
    what.key_size, what.value_size = key_size, value_size
    memory = (
        read(FLOAT, "r", r, keys),
        read(FLOAT, "decay", decay, keys),
        read(FLOAT, "k", k, keys),
        read(FLOAT, "v", v, (n, n_heads, value_size)),
        read(FLOAT, "removed", removed, keys),
        read(FLOAT, "renewed", renewed, keys),
    )
    given.r, given.decay, given.k, given.v, given.removed, given.renewed = memory
    size = ffi.new("size_t *")
    sizes = f"{n_heads} heads of {key_size} by {value_size}"
    check_status(lib.qk_wkv_workspace(backend.index, what, size), sizes)
    status = lib.qk_wkv7(
        backend.index,
        what,
        given,
        written(FLOAT, "out", out, out.shape),
        pointer(workspace(size[0])),
    )
    check_status(status, sizes)
    return out
