"""The lightning indexer: a small attention that chooses the keys of the large one.

Source: DeepSeek-V3.2 (arXiv:2512.02556).  A key's score for a query is the sum over
heads of weight * max(q.k, 0); the weights come from the query's position.  Published
implementations also rotate queries and keys by a Hadamard matrix, for the sake of 8-bit
numbers, which changes no product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .kept import Kept
from .layers import Linear, Norm
from .rotary import Rotary
from .sequences import keys_up_to_own, length_of
from .sizes import Size

__all__ = [
    "EPSILON",
    "HEADS",
    "KEY_SIZE",
    "TOP",
    "ChoiceOfKeys",
    "Indexer",
    "Mask",
    "best_keys",
    "load_indexer",
]

Mask = NDArray[np.bool_]

HEADS = "attention.indexer.head_count"
KEY_SIZE = "attention.indexer.key_length"
TOP = "attention.indexer.top_k"
EPSILON = 1e-6
"""Of the norm of keys, whatever the model's epsilon is."""


class ChoiceOfKeys(Protocol):
    """What chooses the keys that each query of a layer with latent attention sees."""

    @property
    def kept(self) -> tuple[Kept, ...]:
        """See `layer.Mixer.kept`."""

    def __call__(self, x: Activations, latent: Activations) -> Mask | None:
        """Which keys each query sees: [rows, n]; None: all up to its own.

        Args:
            x: the layer's normalized input [rows, width].
            latent: the latent vector of its queries [n, rank].
        """


def best_keys(scores: F32, seen: Mask, count: int) -> Mask:
    """Which keys are chosen: of those that a query sees, the `count` best.

    Args:
        scores: [..., queries, keys], the higher the better.
        seen: the same shape, or [queries, keys]: the keys to choose from.
        count: how many are chosen, at most.  Of keys with the same score, the first
            ones are.
    """
    if scores.shape[-1] <= count:
        return np.broadcast_to(seen, scores.shape)
    ranked = np.where(seen, scores, np.float32(-np.inf))
    least = np.partition(ranked, -count, axis=-1)[..., -count, None]
    better, like = ranked > least, ranked == least
    room = count - better.sum(axis=-1, keepdims=True)
    chosen: Mask = seen & (better | (like & (np.cumsum(like, axis=-1) <= room)))
    return chosen


@dataclass(frozen=True)
class Indexer:
    """Chooses the keys that each query of a layer sees.

    Attributes:
        q: gives the queries, of the latent vector of the layer's queries.
        k, k_norm: give the keys, which all heads share.
        weights: gives the weight of each head.
        rotary: the rotation angles.
        count: the number of keys that are chosen for a query.
        interleaved: which components rotate together; see `ops.turn`.
        turns_last: whether the last components rotate instead of the first.
    """

    q: Linear
    k: Linear
    k_norm: Norm
    weights: Linear
    rotary: Rotary
    count: int
    interleaved: bool = False
    turns_last: bool = False

    @property
    def kept(self) -> tuple[Kept, ...]:
        """See `layer.Mixer.kept`."""
        return (Kept(self.k.n_outputs, is_index=True),)

    def __call__(self, x: Activations, latent: Activations) -> Mask | None:
        """See `ChoiceOfKeys`."""
        k, weights = self.k_norm(self.k(x)), self.weights(x)
        rows, size = k.shape
        q = self.q(latent).reshape(rows, -1, size)
        if length_of(k) <= self.count:
            return None
        turns = self.rotary.turns(k)
        start = size - 2 * turns.shape[-1] if self.turns_last else 0
        for heads in (q, k[:, None]):
            ops.turn(heads[..., start:], turns, interleaved=self.interleaved)
        scores = ops.index_scores(q, k, weights)
        return best_keys(scores, keys_up_to_own(k), self.count)


def load_indexer(
    facts: Facts, claims: Claims, number: int, rotary: Rotary, rank: Size
) -> Indexer:
    """The indexer of layer `number`.

    Args:
        facts: the metadata.
        claims: the tensors.
        number: the layer.
        rotary: the angles, which are also those of attention.
        rank: the size of the latent vector of queries.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    at, width = f"blk.{number}.indexer.", facts.width
    n_heads, size = facts.size(HEADS), facts.size(KEY_SIZE)
    n_turned = 2 * len(rotary.frequencies)
    if size < n_turned:
        raise FormatError(
            f"{facts.key(KEY_SIZE)} is {int(size)}; expected at least the {n_turned} "
            "components that rotate"
        )
    return Indexer(
        q=Linear.of(claims, f"{at}attn_q_b", n_heads * size, rank),
        k=Linear.of(claims, f"{at}attn_k", size, width),
        k_norm=Norm(
            claims.vector(f"{at}k_norm.weight", size),
            claims.vector(f"{at}k_norm.bias", size),
            EPSILON,
            centered=True,
        ),
        weights=Linear.of(claims, f"{at}proj", n_heads, width),
        rotary=rotary,
        count=int(facts.size(TOP)),
    )
