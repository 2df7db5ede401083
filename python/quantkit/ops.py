"""The forward pass, op by op, on NumPy arrays: what every model family composes.

Activations are f32.  A sequence is the first axis: [n, width] between layers,
[n, heads, head size] inside attention.  Nothing here knows of models or files, and
nothing depends on the number of threads: each call runs on the thread that makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._native import active_backend, attend

if TYPE_CHECKING:
    from .models.base import Activations, Matrix

__all__ = [
    "attention",
    "gelu",
    "gelu_tanh",
    "layer_norm",
    "linear",
    "relu",
    "rms_norm",
    "silu",
    "soft_capped",
    "swiglu_clamped",
    "turn",
]

F32 = NDArray[np.float32]


def linear(x: F32 | Activations, matrix: Matrix, bias: F32 | None = None) -> F32:
    """x [n, n_cols] times the transpose of `matrix`, plus `bias`: [n, n_rows]."""
    y = matrix.apply(x)
    if bias is not None:
        y += bias
    return y


def rms_norm(x: F32, weight: F32 | None, epsilon: float) -> F32:
    """x [..., width] scaled to a root mean square of one, times `weight` if any."""
    square_mean = np.einsum("...i,...i->...", x, x) / np.float32(x.shape[-1])
    scale = 1 / np.sqrt(square_mean + np.float32(epsilon))
    y: F32 = x * scale[..., None]
    if weight is not None:
        y *= weight
    return y


def layer_norm(x: F32, weight: F32 | None, bias: F32 | None, epsilon: float) -> F32:
    """x [..., width] with mean 0 and variance 1, times `weight`, plus `bias`."""
    y: F32 = x - x.mean(axis=-1, keepdims=True)
    square_mean = np.einsum("...i,...i->...", y, y) / np.float32(x.shape[-1])
    y *= (1 / np.sqrt(square_mean + np.float32(epsilon)))[..., None]
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y


def silu(x: F32) -> F32:
    """x / (1 + exp(-x)), written over x, which is returned."""
    with np.errstate(over="ignore"):  # below -88 exp(-x) is inf, and silu -0
        denominator = np.exp(-x)
    denominator += 1
    x /= denominator
    return x


def gelu(x: F32) -> F32:
    """x times the normal distribution's share below x."""
    y: F32 = 0.5 * x * (1 + _erf(x * np.float32(0.5**0.5)))
    return y


def gelu_tanh(x: F32) -> F32:
    """The approximation of `gelu` with a hyperbolic tangent (arXiv:1606.08415)."""
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    y: F32 = 0.5 * x * (1 + np.tanh(inner))
    return y


def relu(x: F32) -> F32:
    """max(x, 0)."""
    y: F32 = np.maximum(x, np.float32(0))
    return y


def swiglu_clamped(gate: F32, up: F32) -> F32:
    """gate * sigmoid(1.702 gate) * (up + 1), gate and up kept within 7, as gpt-oss."""
    gate = np.minimum(gate, np.float32(7))
    up = np.clip(up, np.float32(-7), np.float32(7))
    y: F32 = silu(np.float32(1.702) * gate) / np.float32(1.702) * (up + 1)
    return y


def _erf(x: F32) -> F32:
    """The error function within 2e-7: Abramowitz and Stegun, 7.1.26."""
    size = np.abs(x).astype(np.float64)
    t = 1 / (1 + 0.3275911 * size)
    series = 0.254829592 + t * (
        -0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))
    )
    y: F32 = np.copysign(1 - t * series * np.exp(-size * size), x).astype(np.float32)
    return y


def soft_capped(x: F32, cap: float | None) -> F32:
    """cap * tanh(x / cap), which keeps x within the cap; x itself without one."""
    if not cap:
        return x
    x /= np.float32(cap)
    np.tanh(x, out=x)
    x *= np.float32(cap)
    return x


def turn(x: F32, turns: NDArray[np.complex64], *, interleaved: bool) -> F32:
    """Rotary position embedding: rotates pairs of x [n, heads, head size].

    Args:
        x: queries or keys; components beyond 2 * pairs stay as they are.
        turns: [n, pairs], exp(i * angle) of each position and pair.
        interleaved: pairs are (0, 1), (2, 3), ... as in GGUF's llama layout; else
            (0, half), (1, half + 1), ... as in GPT-NeoX.
    """
    n_turned = 2 * turns.shape[-1]
    if n_turned < x.shape[-1]:
        turned = turn(x[..., :n_turned], turns, interleaved=interleaved)
        return np.concatenate([turned, x[..., n_turned:]], axis=-1)
    turns = turns[:, None, :]
    if interleaved:  # a pair is a complex number already
        return (np.ascontiguousarray(x).view(np.complex64) * turns).view(np.float32)
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    y = np.empty_like(x)
    y[..., :half] = a * turns.real - b * turns.imag
    y[..., half:] = a * turns.imag + b * turns.real
    return y


def attention(
    q: F32,
    k: F32,
    v: F32,
    *,
    scale: float | None = None,
    window: int | None = None,
    cap: float | None = None,
    slopes: F32 | None = None,
    sinks: F32 | None = None,
) -> F32:
    """Causal attention with scores scale * q.k, queries grouped over keys.

    Args:
        q: [n, heads, head size].
        k: [n, kv heads, head size]; head h of q uses head h // (heads / kv heads).
        v: [n, kv heads, value size].
        scale: of the scores; None: 1 / sqrt(head size).
        window: how many keys, itself included, a query sees; None: all before it.
        cap: what scores are soft-capped to.
        slopes: [heads], what a key's score loses per position of distance (ALiBi,
            arXiv:2108.12409).
        sinks: [heads], the score of a key without a value.

    Returns:
        [n, heads * value size].
    """
    if scale is None:
        scale = q.shape[-1] ** -0.5
    q, k, v = (np.ascontiguousarray(x, np.float32) for x in (q, k, v))
    out = attend(
        q,
        k,
        v,
        scale,
        active_backend(),
        window=window,
        cap=cap,
        slopes=slopes,
        sinks=sinks,
    )
    return out.reshape(len(out), -1)
