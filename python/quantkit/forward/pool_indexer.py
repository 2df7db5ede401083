"""An indexer that chooses pools of keys (GLM-5.3).

A query sees the best of the whole pools before it, and all keys since the last whole
one.  The key of a pool is a mean of its own index keys; each component weighs them by
the softmax of gates, which follow from the layer's input and the place in the pool.
Source: modeling_glm5_next.py of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import FormatError, UnsupportedModelError
from ..settings import integer
from . import ops
from .base import F32, Activations
from .block_indexer import seen_keys, whole_blocks
from .claims import Claims
from .facts import Facts
from .indexer import HEADS, KEY_SIZE, TOP, Mask, best_keys
from .kept import Kept
from .layers import Linear, Norm
from .sequences import by_sequence, length_of
from .sizes import Size

__all__ = ["POOL", "TAIL", "PoolIndexer", "load_pool_indexer", "pool_size"]

POOL, TAIL = "attention.indexer.kpool", "attention.indexer.kpool_select_tail"


@dataclass(frozen=True)
class PoolIndexer:
    """Chooses the keys that each query of a layer sees.

    Attributes:
        q: gives the queries, of the latent vector of the layer's queries.
        k, k_norm: give the keys, which all heads share.
        weights: gives the weight of each head.
        gates: gives the gates of each key.
        places: what is added to them, by place in the pool [pool, size].
        count: the number of pools that are chosen for a query.
    """

    q: Linear
    k: Linear
    k_norm: Norm
    weights: Linear
    gates: Linear
    places: F32
    count: int

    @property
    def kept(self) -> tuple[Kept, ...]:
        """Of each position its key, its gates and the key of its pool."""
        return (Kept(3 * self.k.n_outputs, is_index=True),)

    def __call__(self, x: Activations, latent: Activations) -> Mask | None:
        """See `ChoiceOfKeys`."""
        k, gates, weights = self.k_norm(self.k(x)), self.gates(x), self.weights(x)
        (rows, size), pool = k.shape, len(self.places)
        q = self.q(latent).reshape(rows, -1, size)
        if length_of(k) // pool <= self.count:
            return None
        keys = by_sequence(self._pooled, k, gates)
        scores = ops.index_scores(q, keys, weights)
        chosen = best_keys(scores, whole_blocks(k, pool), self.count)
        return seen_keys(chosen, pool)

    def _pooled(self, k: F32, gates: F32) -> F32:
        """The keys of whole pools [pools, size], from keys and gates [n, size]."""
        pool, size = self.places.shape
        n_pools = len(k) // pool
        whole = n_pools * pool
        k, gates = (x[:whole].reshape(n_pools, pool, size) for x in (k, gates))
        gates = gates + self.places
        pooled: F32 = (ops.softmax(gates, axis=1) * k).sum(axis=1)
        return pooled


def pool_size(facts: Facts) -> Size:
    """The number of keys in a pool.

    Raises:
        FormatError: it is 1, or the keys that a query may see are not whole pools.
        UnsupportedModelError: queries do not see the keys since the last whole pool.
    """
    if not facts.flag(TAIL, True):
        raise UnsupportedModelError(
            f"{facts.key(TAIL)} is false; the first queries would see no key, and "
            "quantkit's forward pass does not support that"
        )
    top, key = facts.size(TOP), facts.key(POOL)
    pool = Size(facts.count(POOL, None, integer(2)), key)
    if top % pool:
        raise FormatError(
            f"{key} is {int(pool)}; expected a divisor of {facts.key(TOP)}, {int(top)}"
        )
    return pool


def load_pool_indexer(facts: Facts, claims: Claims, number: int) -> PoolIndexer:
    """The indexer of layer `number`.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
        UnsupportedModelError: as for `pool_size`.
    """
    at, width = f"blk.{number}.indexer", facts.width
    n_heads, size, pool = facts.size(HEADS), facts.size(KEY_SIZE), pool_size(facts)
    rank = facts.size("attention.q_lora_rank")
    places = claims.vector(f"{at}_compressor_ape.weight", pool, size)
    return PoolIndexer(
        q=Linear.of(claims, f"{at}.attn_q_b", n_heads * size, rank),
        k=Linear.of(claims, f"{at}.attn_k", size, width),
        k_norm=Norm(
            claims.vector(f"{at}.k_norm.weight", size),
            claims.vector(f"{at}.k_norm.bias", size),
            facts.epsilon,
            centered=True,
        ),
        weights=Linear.of(claims, f"{at}.proj", n_heads, width),
        gates=Linear.of(claims, f"{at}_compressor_gate", size, width),
        places=places.reshape(pool, size),
        count=int(facts.size(TOP) // pool),
    )
