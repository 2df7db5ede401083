"""The operations of the forward pass on arrays, used by every model family.

Activations are f32.  The first axis is the sequence, or several of one length (see
`sequences`): [n, width] between layers, [n, heads, head size] inside attention.  Each
call runs on the calling thread or the device of its arrays (see `engines`), so results
do not depend on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._native import Function
from .attended import Attended, notice
from .engines import engine_of
from .sequences import beside_each_other, by_sequence, in_turn, n_sequences

if TYPE_CHECKING:
    from .base import Activations, Matrix

__all__ = [
    "attention",
    "contiguous",
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
    weight, bias = (None if v is None else contiguous(v) for v in (weight, bias))
    norm_rows = engine_of(x).norm_rows
    return norm_rows(contiguous(x), weight, bias, epsilon, centered=centered)


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
    y = contiguous(gate)
    engine_of(y).swiglu_clamped(y, contiguous(up), y)
    return _over(gate, y)


def soft_capped(x: F32, cap: float | None) -> F32:
    """cap * tanh(x / cap), or x itself without a cap; in place, returns x."""
    if not cap:
        return x
    y = contiguous(x)
    engine_of(y).soft_cap(y, cap, y)
    return _over(x, y)


def _applied(function: Function, x: F32, up: F32 | None) -> F32:
    y = contiguous(x)
    factor = None if up is None else contiguous(up)
    engine_of(y).activate(function, y, factor, y)
    return _over(x, y)


def contiguous(x: F32) -> F32:
    """x as a contiguous f32 array, without a copy if it is one."""
    if x.flags.c_contiguous and x.dtype == np.float32:
        return x
    return np.ascontiguousarray(x, np.float32, like=x)


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
        turns: [n, pairs], exp(i * angle) of each row's position and pair.
        interleaved: pairs are (0, 1), (2, 3), ... as in GGUF's llama layout; else
            (0, half), (1, half + 1), ... as in GPT-NeoX.
    """
    y = x if x.strides[-1] == x.itemsize else contiguous(x)
    engine_of(y).rotate(y, turns, interleaved=interleaved)
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
            there are no sinks.  Of several sequences, each has a query's row, and keys
            are those of its own sequence.
        cap: soft cap of the scores.
        slopes: [heads], subtracted from a score per position of distance (ALiBi,
            arXiv:2108.12409).
        sinks: [heads], the score of an additional key without a value.

    Returns:
        [n, heads * value size].
    """
    if scale is None:
        scale = q.shape[-1] ** -0.5
    how = {"window": window, "cap": cap, "slopes": slopes, "sinks": sinks}
    attend = _attend if n_sequences() == 1 else _attend_each
    out = attend(q, k, v, mask, scale=scale, **how)
    return out.reshape(len(out), -1)


def _attend(q: F32, k: F32, v: F32, mask: Mask | None, **how: Any) -> F32:
    """The attention of one sequence: [n, heads, value size].

    Args:
        q, k, v, mask: see `attention`.
        how: all its other arguments.
    """
    q, k, v = contiguous(q), contiguous(k), contiguous(v)
    if mask is not None:
        mask = np.ascontiguousarray(mask, like=mask).reshape(-1, len(q), len(k))
    out: F32 = engine_of(q).attend(q, k, v, mask=mask, **how)
    notice(Attended(q, k, v, out, mask=mask, **how))
    return out


def _attend_each(q: F32, k: F32, v: F32, mask: Mask | None, **how: Any) -> F32:
    """The same of several sequences, one after the other."""
    if mask is None:
        for name in ("slopes", "sinks"):
            if how[name] is not None:
                how[name] = np.concatenate([how[name]] * n_sequences())
        q, k, v = map(beside_each_other, (q, k, v))
        return in_turn(_attend(q, k, v, None, **how))

    def attend(q: F32, k: F32, v: F32, seen: Mask) -> F32:
        return _attend(q, k, v, seen.swapaxes(0, 1), **how)

    seen = mask.reshape(-1, *mask.shape[-2:]).swapaxes(0, 1)
    return by_sequence(attend, q, k, v, seen)


def index_scores(q: F32, k: F32, weights: F32, *, rectified: bool = True) -> F32:
    """How well keys of its sequence fit each query, to choose keys by: [n, keys].

    The sum over heads of weight * max(q.k, 0) (the lightning indexer of DeepSeek-V3.2),
    or of weight * q.k if not `rectified`.

    Args:
        q: [n, heads, size].
        k: [keys, size], the same for all heads.
        weights: [n, heads].
        rectified: whether negative products count as 0.
    """

    def scores(q: F32, k: F32, weights: F32) -> F32:
        made: F32 = engine_of(q).index_scores(
            *map(contiguous, (q, k, weights)), rectified=rectified
        )
        return made

    return by_sequence(scores, q, k, weights)
