"""The forward pass, op by op, on NumPy arrays: what every model family composes.

Activations are f32.  A sequence is the first axis: [n, width] between layers,
[n, heads, head size] inside attention.  Nothing here knows of models or files, and
nothing depends on the number of threads: each call runs on the thread that makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .models.base import Matrix

__all__ = [
    "attention",
    "linear",
    "negative_log_likelihood",
    "rms_norm",
    "swiglu",
    "turn",
]

F32 = NDArray[np.float32]

QUERY_ROWS = 128
"""Queries per step of `attention`: bounds the scores held, and skips masked keys."""

VOCABULARY_ROWS = 1024
"""Tokens per step of `negative_log_likelihood`: bounds the logits held."""


def linear(x: F32, matrix: Matrix, bias: F32 | None = None) -> F32:
    """x [n, n_cols] times the transpose of `matrix`, plus `bias`: [n, n_rows]."""
    y = matrix.apply(x)
    if bias is not None:
        y += bias
    return y


def rms_norm(x: F32, weight: F32, epsilon: float) -> F32:
    """x [..., width] scaled to a root mean square of one, times weight [width]."""
    square_mean = np.einsum("...i,...i->...", x, x) / np.float32(x.shape[-1])
    scale = 1 / np.sqrt(square_mean + np.float32(epsilon))
    y: F32 = x * scale[..., None]
    y *= weight
    return y


def swiglu(gate: F32, up: F32) -> F32:
    """silu(gate) * up, written over `gate`, which is returned."""
    with np.errstate(over="ignore"):  # below -88 exp(-gate) is inf, and silu -0
        denominator = np.exp(-gate)
    denominator += 1
    gate /= denominator
    gate *= up
    return gate


def turn(x: F32, turns: NDArray[np.complex64], *, interleaved: bool) -> F32:
    """Rotary position embedding: rotates pairs of x [n, heads, head size].

    Args:
        x: queries or keys.
        turns: [n, head size / 2], exp(i * angle) of each position and pair.
        interleaved: pairs are (0, 1), (2, 3), ... as in GGUF's llama layout; else
            (0, half), (1, half + 1), ... as in GPT-NeoX.
    """
    turns = turns[:, None, :]
    if interleaved:  # a pair is a complex number already
        turned: F32 = (np.ascontiguousarray(x).view(np.complex64) * turns).view(
            np.float32
        )
        return turned
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    y = np.empty_like(x)
    y[..., :half] = a * turns.real - b * turns.imag
    y[..., half:] = a * turns.imag + b * turns.real
    return y


def attention(q: F32, k: F32, v: F32) -> F32:
    """Causal attention with scores q.k / sqrt(head size), queries grouped over keys.

    Args:
        q: [n, heads, head size].
        k: [n, kv heads, head size]; head h of q uses head h // (heads / kv heads).
        v: as k.

    Returns:
        [n, heads * head size].
    """
    n, n_heads, head_size = q.shape
    group = n_heads // k.shape[1]
    out = np.empty_like(q)
    scaled = q * np.float32(head_size**-0.5)
    later = np.triu(np.full((QUERY_ROWS, QUERY_ROWS), -np.inf, np.float32), 1)
    for start in range(0, n, QUERY_ROWS):
        stop = min(start + QUERY_ROWS, n)
        for head in range(k.shape[1]):
            heads = slice(head * group, (head + 1) * group)
            queries = scaled[start:stop, heads].swapaxes(0, 1)
            mixed = _attend(queries, k[:stop, head], v[:stop, head], later)
            out[start:stop, heads] = mixed.swapaxes(0, 1)
    return out.reshape(n, n_heads * head_size)


def _attend(q: F32, k: F32, v: F32, later: F32) -> F32:
    """Attention of the last m positions, for the query heads of one key head.

    Args:
        q: [group, m, head size], scaled.
        k: [n, head size], m of its positions being those of q.
        v: as k.
        later: at least [m, m]; what keeps a query from a later key: -inf above the
            diagonal, else 0.

    Returns:
        [group, m, head size].
    """
    group, m, head_size = q.shape
    scores = q.reshape(group * m, head_size) @ k.T
    newest = scores.reshape(group, m, len(k))[:, :, len(k) - m :]
    newest += later[:m, :m]
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    mixed: F32 = (scores @ v) / total
    return mixed.reshape(group, m, head_size)


def negative_log_likelihood(
    hidden: F32, head: Matrix, targets: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """-log softmax(hidden x head)[target] of each row, without holding the logits.

    The head is applied by tiles of the vocabulary.  A running maximum and a sum of
    exp(logit - maximum), rescaled when the maximum grows, replace the whole row.

    Args:
        hidden: [n, width].
        head: [vocabulary, width].
        targets: n token ids.

    Returns:
        [n]; logits and exp are f32, sums and logarithm f64.
    """
    n_tokens = head.shape[0]
    highest = np.full(len(hidden), -np.inf, np.float32)
    total = np.zeros(len(hidden), np.float64)
    wanted = np.empty(len(hidden), np.float32)
    for start in range(0, n_tokens, VOCABULARY_ROWS):
        stop = min(start + VOCABULARY_ROWS, n_tokens)
        logits = head.part(start, stop).apply(hidden)
        inside = np.flatnonzero((targets >= start) & (targets < stop))
        wanted[inside] = logits[inside, targets[inside] - start]
        before, highest = highest, np.maximum(highest, logits.max(axis=1))
        logits -= highest[:, None]
        np.exp(logits, out=logits)
        total *= np.exp((before - highest).astype(np.float64))
        total += logits.sum(axis=1, dtype=np.float64)
    return highest.astype(np.float64) + np.log(total) - wanted
