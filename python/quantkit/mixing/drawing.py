"""Tokens drawn from a prediction, and divergences computed from their logits alone.

With p the prediction of the base, q that of a model, and z the difference of their
logits,

    KL(p || q) = log E[exp z] - E[z], the means over tokens drawn from p,

because log q - log p = z - log E[exp z].  So the logits of a few tokens estimate the
divergence.  Those of the whole vocabulary are needed once, for the draw.

The draw is systematic: the tokens at the shares (u + i) / n of the prediction, in the
order of the vocabulary.  A token of probability 1 / n or more is always among them.  u
differs from position to position; nothing is random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NonFiniteError
from ..forward.base import F32
from ..forward.layers import Head

__all__ = ["N_DRAWN", "Drawn", "divergence", "drawn_tokens", "logits_of"]

Drawn = NDArray[np.integer[Any]]

N_DRAWN = 32
"""Tokens drawn at each position."""
GOLDEN = 0.6180339887498949
"""The fraction whose multiples are spread most evenly between 0 and 1."""
POSITIONS = 32
"""Positions whose logits are in memory at a time."""


def drawn_tokens(hidden: F32, head: Head, first: int) -> NDArray[np.int64]:
    """Tokens drawn from what a model predicts: [n, `N_DRAWN`].

    Args:
        hidden: final hidden states [n, width].
        head: the model's head.
        first: the number of the first position among all positions.

    Raises:
        NonFiniteError: the model predicts NaN.
    """
    pieces = range(0, len(hidden), POSITIONS)
    drawn = [
        _drawn(head.apply(hidden[start : start + POSITIONS]), first + start)
        for start in pieces
    ]
    return np.concatenate(drawn)


def _drawn(logits: F32, first: int) -> NDArray[np.int64]:
    highest = logits.max(axis=1, keepdims=True)
    upto = np.exp(logits - highest, dtype=np.float64).cumsum(axis=1)
    if not np.isfinite(upto).all():
        raise NonFiniteError("the model predicts NaN: a weight is damaged")
    turns = (first + np.arange(len(logits))) * GOLDEN % 1
    shares = (turns[:, None] + np.arange(N_DRAWN)) / N_DRAWN
    places = [
        np.searchsorted(row, share * row[-1], side="right")
        for row, share in zip(upto, shares, strict=True)
    ]
    drawn: NDArray[np.int64] = np.minimum(places, logits.shape[1] - 1)
    return drawn


def logits_of(tokens: Drawn, hidden: F32, head: Head) -> F32:
    """The logits of some tokens at each position: [n, tokens].

    Args:
        tokens: [n, tokens].
        hidden: final hidden states [n, width].
        head: the model's head.
    """
    pieces = (slice(i, i + POSITIONS) for i in range(0, len(hidden), POSITIONS))
    return np.concatenate([head.at(tokens[at], hidden[at]) for at in pieces])


def divergence(shifts: NDArray[Any]) -> float:
    """The mean KL divergence of a model, in nats per token.

    Args:
        shifts: by how much it moves the logits of tokens drawn from the base's
            prediction: [positions, tokens].
    """
    z = np.asarray(shifts, np.float64)
    highest = z.max(axis=1, keepdims=True)
    of_exp = np.log(np.exp(z - highest).mean(axis=1)) + highest[:, 0]
    return float((of_exp - z.mean(axis=1)).mean())
