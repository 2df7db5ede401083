"""The operations of the forward pass on arrays, used by every model family.

Activations are f32.  The first axis is the sequence: [n, width] between layers,
[n, heads, head size] inside attention.  Each call runs on the calling thread, so
results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._native import (
    Function,
    activate,
    active_backend,
    attend,
    norm_rows,
    rotate,
    soft_cap,
)
from .._native import index_scores as native_index_scores
from .._native import swiglu_clamped as native_swiglu_clamped
from .attended import Attended, notice

if TYPE_CHECKING:
    from .base import Activations, Matrix

__all__ = [
    "attention",
    "gelu",
    "gelu_tanh",
    "index_scores",
    "layer_norm",
    "linear",
    "relu",
    "relu_squared",
    "rms_norm",
    "sigmoid",
    "silu",
    "soft_capped",
    "softmax",
    "swiglu_clamped",
    "turn",
]

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def linear(x: F32 | Activations, matrix: Matrix, bias: F32 | None = None) -> F32:
    """x [n, n_cols] times the transpose of `matrix`, plus `bias`: [n, n_rows]."""
    y = matrix.apply(x)
    if bias is not None:
        y += bias
    return y


def rms_norm(x: F32, weight: F32 | None, epsilon: float) -> F32:
    """x [..., width] scaled to a root mean square of 1, times `weight` if given.

    The weight is [width], or [heads, width] if heads differ.
    """
    return _normed(x, weight, None, epsilon, centered=False)


def layer_norm(x: F32, weight: F32 | None, bias: F32 | None, epsilon: float) -> F32:
    """x [..., width] with mean 0 and variance 1, times `weight`, plus `bias`.

    Both are [width], or [heads, width] if heads differ.
    """
    return _normed(x, weight, bias, epsilon, centered=True)


def _normed(
    x: F32, weight: F32 | None, bias: F32 | None, epsilon: float, *, centered: bool
) -> F32:
    if weight is not None and bias is not None:
        weight, bias = np.broadcast_arrays(weight, bias)
    weight, bias = (None if v is None else _contiguous(v) for v in (weight, bias))
    backend = active_backend()
    return norm_rows(_contiguous(x), weight, bias, epsilon, backend, centered=centered)


def softmax(x: F32, axis: int = -1) -> F32:
    """exp(x), divided by its sum over an axis."""
    y: F32 = np.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


def silu(x: F32, up: F32 | None = None) -> F32:
    """x / (1 + exp(-x)), times `up` if given; in place, returns x."""
    return _applied(Function.SILU, x, up)


def gelu(x: F32, up: F32 | None = None) -> F32:
    """x * Phi(x), Phi the normal distribution function; otherwise like `silu`."""
    return _applied(Function.GELU, x, up)


def gelu_tanh(x: F32, up: F32 | None = None) -> F32:
    """The tanh approximation of `gelu` (arXiv:1606.08415)."""
    return _applied(Function.GELU_TANH, x, up)


def relu(x: F32, up: F32 | None = None) -> F32:
    """max(x, 0); otherwise like `silu`."""
    return _applied(Function.RELU, x, up)


def relu_squared(x: F32, up: F32 | None = None) -> F32:
    """max(x, 0)^2; otherwise like `silu`."""
    relu(x)
    x *= x
    if up is not None:
        x *= up
    return x


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)); in place, returns x."""
    return _applied(Function.SIGMOID, x, None)


def swiglu_clamped(gate: F32, up: F32) -> F32:
    """gpt-oss's gating: gate * sigmoid(1.702 gate) * (up + 1), inputs clamped at 7.

    In place: writes over `gate` and returns it.
    """
    y = _contiguous(gate)
    native_swiglu_clamped(y, _contiguous(up), y, active_backend())
    return _over(gate, y)


def soft_capped(x: F32, cap: float | None) -> F32:
    """cap * tanh(x / cap), or x itself without a cap; in place, returns x."""
    if not cap:
        return x
    y = _contiguous(x)
    soft_cap(y, cap, y, active_backend())
    return _over(x, y)


def _applied(function: Function, x: F32, up: F32 | None) -> F32:
    y = _contiguous(x)
    factor = None if up is None else _contiguous(up)
    activate(function, y, factor, y, active_backend())
    return _over(x, y)


def _contiguous(x: F32) -> F32:
    """x as a contiguous f32 array, without a copy if it is one."""
    return np.ascontiguousarray(x, np.float32)


def _over(x: F32, y: F32) -> F32:
    """Write y, which may be x, over x."""
    if y is not x:
        x[...] = y
    return x


def turn(x: F32, turns: NDArray[np.complex64], *, interleaved: bool) -> F32:
    """Apply rotary position embedding to x [n, heads, head size], in place.

    Args:
        x: queries or keys, written over and returned; components beyond 2 * pairs are
            unchanged.
        turns: [n, pairs], exp(i * angle) of each position and pair.
        interleaved: pairs are (0, 1), (2, 3), ... as in GGUF's llama layout; else
            (0, half), (1, half + 1), ... as in GPT-NeoX.
    """
    y = x if x.strides[-1] == x.itemsize else _contiguous(x)
    rotate(y, turns, active_backend(), interleaved=interleaved)
    return _over(x, y)


def attention(
    q: F32,
    k: F32,
    v: F32,
    *,
    scale: float | None = None,
    window: int | None = None,
    mask: Mask | None = None,
    cap: float | None = None,
    slopes: F32 | None = None,
    sinks: F32 | None = None,
) -> F32:
    """Grouped-query attention with scores scale * q.k; causal if there is no mask.

    Args:
        q: [n, heads, head size].
        k: [keys, kv heads, head size]; query head h uses KV head
            h // (heads / kv heads).  Without a mask there are n keys.
        v: [keys, kv heads, value size].
        scale: multiplies the scores; None: 1 / sqrt(head size).
        window: how many keys a query sees, its own included; None: all up to its own.
        mask: which keys each query sees, whatever their positions and `window`: [n,
            keys], or [kv heads, n, keys] if heads differ.  Each query must see one, if
            there are no sinks.
        cap: soft cap of the scores.
        slopes: [heads], subtracted from a score per position of distance (ALiBi,
            arXiv:2108.12409).
        sinks: [heads], the score of an additional key without a value.

    Returns:
        [n, heads * value size].
    """
    if scale is None:
        scale = q.shape[-1] ** -0.5
    q, k, v = (np.ascontiguousarray(x, np.float32) for x in (q, k, v))
    if mask is not None:
        mask = np.ascontiguousarray(mask).reshape(-1, len(q), len(k))
    out = attend(
        q,
        k,
        v,
        scale,
        active_backend(),
        window=window,
        mask=mask,
        cap=cap,
        slopes=slopes,
        sinks=sinks,
    )
    notice(Attended(q, k, v, out, scale, window, cap, slopes, sinks, mask))
    return out.reshape(len(out), -1)


def index_scores(q: F32, k: F32, weights: F32, *, rectified: bool = True) -> F32:
    """How well keys fit queries, to choose keys by: [n, keys].

    The sum over heads of weight * max(q.k, 0) (the lightning indexer of DeepSeek-V3.2),
    or of weight * q.k if not `rectified`.

    Args:
        q: [n, heads, size].
        k: [keys, size], the same for all heads.
        weights: [n, heads].
        rectified: whether negative products count as 0.
    """
    q, k, weights = (_contiguous(x) for x in (q, k, weights))
    return native_index_scores(q, k, weights, active_backend(), rectified=rectified)
