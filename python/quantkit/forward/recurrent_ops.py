"""The operations of recurrent layers, on arrays; they continue `ops`.

The first axis is the sequence, or several of one length (see `sequences`).  A state
starts at 0 with each sequence; every position changes it, and then reads it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._native import Function
from .engines import engine_of
from .ops import contiguous, rms_norm
from .sequences import beside_each_other, by_sequence, in_turn, n_sequences

__all__ = [
    "gated_delta",
    "l2_norm",
    "linear_attention",
    "selective_scan",
    "short_convolution",
    "softplus",
    "state_space",
    "wkv6",
    "wkv7",
]

F32 = NDArray[np.float32]


def short_convolution(x: F32, weight: F32, bias: F32 | None = None) -> F32:
    """Causal convolution of each channel with weights of its own, without activation.

    Args:
        x: [n, channels].
        weight: [channels, taps]; the last tap is for the position itself.
        bias: [channels].

    Returns:
        [n, channels].
    """
    taps, count = weight.T, n_sequences()
    if count > 1:
        taps = np.concatenate([taps] * count, axis=1)
        bias = None if bias is None else np.concatenate([bias] * count)
    channels = contiguous(beside_each_other(x))
    at_all = None if bias is None else contiguous(bias)
    y: F32 = engine_of(x).short_convolution(channels, contiguous(taps), at_all)
    return in_turn(y)


def gated_delta(q: F32, k: F32, v: F32, decay: F32, beta: F32, scale: float) -> F32:
    """The gated delta rule (arXiv:2412.06464) with a state S [key size, value size].

    Each position of a head computes

        S = exp(decay) * S
        S = S + beta * outer(k, v - S^T k)
        out = scale * S^T q

    Args:
        q: [n, key heads, key size].
        k: [n, key heads, key size]; head h uses q and k of head
            h // (heads // key heads).
        v: [n, heads, value size].
        decay: [n, heads], or [n, heads, key size] if components differ
            (arXiv:2510.26692); logarithms, at most 0.
        beta: [n, heads].
        scale: multiplies the queries.

    Returns:
        [n, heads, value size].
    """
    if decay.ndim == 2:
        decay = decay[..., None]
    return _recur(q, k, v, decay, beta, scale)


def linear_attention(q: F32, decay: F32, k: F32, v: F32) -> F32:
    """Linear attention with a decay of each component (arXiv:2312.06635).

    Each position of a head computes, with a state S [key size, value size],

        S = exp(decay) * S + outer(k, v)
        out = S^T q

    Args:
        q: [n, heads, key size].
        decay: [n, heads, key size]; logarithms, at most 0.
        k: [n, heads, key size].
        v: [n, heads, value size].

    Returns:
        [n, heads, value size].
    """
    return _recur(q, k, v, decay)


def selective_scan(x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32) -> F32:
    """Mamba's scan (arXiv:2312.00752): each channel has states h [states].

    Each position of a channel computes

        h = exp(dt * a) * h + dt * x * b
        y = sum(c * h) + d * x

    Args:
        x: [n, channels].
        dt: [n, channels], after softplus.
        a: [channels, states], negative.
        b: [n, states].
        c: [n, states].
        d: [channels].

    Returns:
        [n, channels].
    """

    def scanned(x: F32, dt: F32, b: F32, c: F32) -> F32:
        given = map(contiguous, (x, dt, a, b, c, d))
        y: F32 = engine_of(x).selective_scan(*given)
        return y

    return by_sequence(scanned, x, dt, b, c)


def state_space(x: F32, dt: F32, a: F32, b: F32, c: F32, d: F32) -> F32:
    """Mamba-2's scan (arXiv:2405.21060): each head has a state h [states, size].

    Each position of a head computes

        h = exp(dt * a) * h + dt * outer(b, x)
        y = h^T c + d * x

    Args:
        x: [n, heads, size].
        dt: [n, heads], after softplus.
        a: [heads], negative.
        b: [n, groups, states].
        c: [n, groups, states]; head h uses b and c of group h // (heads // groups).
        d: [heads].

    Returns:
        [n, heads, size].
    """
    y = _recur(c, b, x * dt[..., None], (dt * a)[..., None])
    y += x * d[:, None]
    return y


def wkv6(r: F32, decay: F32, k: F32, v: F32, bonus: F32) -> F32:
    """RWKV-6's states (arXiv:2404.05892): each head has a state S [key size, size].

    Each position of a head reads the state before it changes it:

        out = (S + outer(bonus * k, v))^T r
        S = exp(decay) * S + outer(k, v), the decay of each row of S its own

    So what a position reads is what the one before it would read with its `r`.

    Args:
        r: [n, heads, key size].
        decay: [n, heads, key size]; logarithms, at most 0.
        k: [n, heads, key size].
        v: [n, heads, value size].
        bonus: [heads, key size].

    Returns:
        [n, heads, value size].
    """

    def read(r: F32, decay: F32, k: F32, v: F32) -> F32:
        later = np.zeros_like(r)
        later[:-1] = r[1:]
        seen = linear_attention(later, decay, k, v)
        y: F32 = np.einsum("nhk,nhk,hk->nh", r, k, bonus)[..., None] * v
        y[1:] += seen[:-1]
        return y

    return by_sequence(read, r, decay, k, v)


def wkv7(r: F32, decay: F32, k: F32, v: F32, removed: F32, renewed: F32) -> F32:
    """RWKV-7's states (arXiv:2503.14456): each head has a state S [key size, size].

    Each position of a head computes

        S = exp(decay) * S + outer(renewed, S^T removed) + outer(k, v)
        out = S^T r

    where both products are of the state before.

    Args:
        r: [n, heads, key size].
        decay: [n, heads, key size]; logarithms, at most 0.
        k: [n, heads, key size].
        v: [n, heads, value size].
        removed: [n, heads, key size]; in models -1 times a key of length 1.
        renewed: [n, heads, key size]; in models that key times a rate in 0 to 1.

    Returns:
        [n, heads, value size].
    """
    given = r, decay, k, v, removed, renewed
    y: F32 = engine_of(r).wkv7(*(contiguous(beside_each_other(x)) for x in given))
    return in_turn(y)


def _recur(
    q: F32, k: F32, v: F32, decay: F32, beta: F32 | None = None, scale: float = 1.0
) -> F32:
    """See `gated_delta`; without `beta`, see `linear_attention`."""
    q, k, v, decay = (contiguous(beside_each_other(x)) for x in (q, k, v, decay))
    if beta is not None:
        beta = contiguous(beside_each_other(beta))
    y: F32 = engine_of(q).recur(q, k, v, decay, beta, scale)
    return in_turn(y)


def l2_norm(x: F32, epsilon: float) -> F32:
    """x [..., width] over its length, sqrt(sum of squares + epsilon)."""
    width = x.shape[-1]
    scale = np.full_like(x, width**-0.5, dtype=np.float32, shape=width)
    return rms_norm(x, scale, epsilon / width)


def softplus(x: F32) -> F32:
    """log(1 + exp(x)) of each item."""
    x = contiguous(x)
    y = np.empty_like(x)
    engine_of(x).activate(Function.SOFTPLUS, x, None, y)
    return y
