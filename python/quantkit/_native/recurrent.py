"""Recurrent layers: a state starts at 0, and each position changes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .arguments import FLOAT
from .places import Runner, place_of

__all__ = ["recur", "selective_scan", "short_convolution", "wkv7"]

F32 = NDArray[np.float32]


def short_convolution(x: F32, weight: F32, bias: F32 | None, backend: Runner) -> F32:
    """Causal convolution of each channel of x [n, channels]; all C-contiguous.

    Args:
        x: the channels, before the first position 0.
        weight: [taps, channels], the last tap for the position itself.
        bias: [channels], added.
        backend: the backend to use.

    Raises:
        ShapeError: an array does not fit.
    """
    at = place_of(backend)
    n, n_channels = shape = at.shape_of("x", x, 2)
    n_taps = at.shape_of("weight", weight, 2)[0]
    memory = (
        at.read(FLOAT, "weight", weight, (n_taps, n_channels)),
        at.optional(FLOAT, "bias", bias, (n_channels,)),
    )
    y: F32 = at.empty(shape)
    what = at.new("qk_convolution")
    what.n, what.n_channels, what.n_taps = n, n_channels, n_taps
    what.weight, what.bias = memory
    source, result = at.read(FLOAT, "x", x, shape), at.written(FLOAT, "y", y, shape)
    sizes = f"a convolution of {list(shape)} with {n_taps} taps"
    at.run("short_convolution", sizes, what, source, result)
    return y


def recur(
    q: F32,
    k: F32,
    v: F32,
    decay: F32,
    beta: F32 | None,
    scale: float,
    backend: Runner,
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
    at = place_of(backend)
    n, n_heads, value_size = shape = at.shape_of("v", v, 3)
    n_key_heads, key_size = at.shape_of("k", k, 3)[1:]
    if not n_key_heads or n_heads % n_key_heads:
        raise ShapeError(
            f"{n_heads} heads of values cannot share {n_key_heads} heads of keys"
        )
    decay_size = at.shape_of("decay", decay, 3)[2]
    of_heads = at.optional(FLOAT, "beta", beta, (n, n_heads))
    out: F32 = at.empty(shape)
    what = at.new("qk_recurrence")
    what.n, what.n_heads, what.n_key_heads = n, n_heads, n_key_heads
    what.key_size, what.value_size, what.decay_size = key_size, value_size, decay_size
    what.scale, what.beta = scale, of_heads
    sizes = f"a recurrence of keys {list(k.shape)}, values {list(v.shape)} and "
    sizes += f"decays {list(decay.shape)}"
    at.run(
        "recur",
        sizes,
        what,
        at.read(FLOAT, "q", q, (n, n_key_heads, key_size)),
        at.read(FLOAT, "k", k, (n, n_key_heads, key_size)),
        at.read(FLOAT, "v", v, shape),
        at.read(FLOAT, "decay", decay, (n, n_heads, decay_size)),
        at.written(FLOAT, "out", out, shape),
    )
    return out


def selective_scan(
    x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32, backend: Runner
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
    at = place_of(backend)
    n, n_channels = shape = at.shape_of("x", x, 2)
    n_states = at.shape_of("b", b, 2)[1]
    y: F32 = at.empty(shape)
    what, given = at.new("qk_scan"), at.new("qk_scan_inputs")
    what.n, what.n_channels, what.n_states = n, n_channels, n_states
    memory = (
        at.read(FLOAT, "x", x, shape),
        at.read(FLOAT, "dt", dt, shape),
        at.read(FLOAT, "a", a, (n_channels, n_states)),
        at.read(FLOAT, "b", b, (n, n_states)),
        at.read(FLOAT, "c", c, (n, n_states)),
        at.read(FLOAT, "d", d, (n_channels,)),
    )
    given.x, given.dt, given.a, given.b, given.c, given.d = memory
    sizes = f"a scan of {list(shape)} with {n_states} states"
    at.run("selective_scan", sizes, what, given, at.written(FLOAT, "y", y, shape))
    return y


def wkv7(
    r: F32, decay: F32, k: F32, v: F32, removed: F32, renewed: F32, backend: Runner
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
    at = place_of(backend)
    n, n_heads, key_size = keys = at.shape_of("k", k, 3)
    value_size = at.shape_of("v", v, 3)[2]
    shape = n, n_heads, value_size
    out: F32 = at.empty(shape)
    what, given = at.new("qk_wkv"), at.new("qk_wkv_inputs")
    what.n, what.n_heads = n, n_heads
    what.key_size, what.value_size = key_size, value_size
    memory = (
        at.read(FLOAT, "r", r, keys),
        at.read(FLOAT, "decay", decay, keys),
        at.read(FLOAT, "k", k, keys),
        at.read(FLOAT, "v", v, shape),
        at.read(FLOAT, "removed", removed, keys),
        at.read(FLOAT, "renewed", renewed, keys),
    )
    given.r, given.decay, given.k, given.v, given.removed, given.renewed = memory
    sizes = f"{n_heads} heads of {key_size} by {value_size}"
    at.run("wkv7", sizes, what, given, at.written(FLOAT, "out", out, shape))
    return out
