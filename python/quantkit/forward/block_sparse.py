"""Block-sparse attention (MiniMax M3): an indexer chooses a query's blocks of keys.

The indexer has one head for each key head of attention.  A block's score is the highest
product of the query with a key in it; the blocks up to the query's own that are nearest
to it are always chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import ops
from .attention import Attention, load_attention
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .indexer import HEADS, KEY_SIZE, TOP, best_keys
from .kept import Kept, State
from .layers import Linear, Norm
from .rotary import Rotary
from .sequences import keys_up_to_own, length_of, positions_of
from .traits import Traits

__all__ = ["BLOCK_SIZE", "LOCAL", "BlockIndexer", "BlockSparse", "load_block_sparse"]

Mask = NDArray[np.bool_]

BLOCK_SIZE = "attention.indexer.block_size"
LOCAL = "attention.indexer.local_blocks"


@dataclass(frozen=True)
class BlockIndexer:
    """Chooses the blocks of keys that each query sees, for each key head.

    Attributes:
        q, q_norm: give the queries of each head.
        k, k_norm: give the keys, which all heads share.
        rotary: the rotation angles.
        block_size: the number of keys in a block.
        count: the number of blocks that are chosen for a query.
        n_local: how many of them are its own block and those before it.
    """

    q: Linear
    q_norm: Norm
    k: Linear
    k_norm: Norm
    rotary: Rotary
    block_size: int
    count: int
    n_local: int

    def __call__(self, x: Activations) -> Mask | None:
        """Which keys each query sees: [heads, n, n]; None: all up to its own.

        Args:
            x: the layer's normalized input [n, width].
        """
        k = self.k_norm(self.k(x))
        (rows, size), n = k.shape, length_of(k)
        q = self.q_norm(self.q(x).reshape(rows, -1, size))
        if n <= self.block_size * self.count:
            return None
        turns = self.rotary.turns(k)
        ops.turn(q, turns, interleaved=False)
        ops.turn(k[:, None], turns, interleaved=False)
        heads = (q[:, head : head + 1] for head in range(q.shape[1]))
        chosen = np.stack([self._blocks(head, k) for head in heads])
        keys = np.repeat(chosen, self.block_size, axis=2)[..., :n]
        mask: Mask = keys & keys_up_to_own(k)
        return mask

    def _blocks(self, q: F32, k: F32) -> Mask:
        """The blocks that each query of one head [n, 1, size] sees: [n, blocks]."""
        rows, n = len(k), length_of(k)
        scores = ops.index_scores(q, k, np.ones_like(q[..., 0]), rectified=False)
        n_blocks = -(-n // self.block_size)
        padded = np.full_like(scores, -np.inf, shape=(rows, n_blocks * self.block_size))
        padded[:, :n] = np.where(keys_up_to_own(k), scores, np.float32(-np.inf))
        best = padded.reshape(rows, n_blocks, -1).max(axis=2)
        own = positions_of(k) // self.block_size
        for before in range(self.n_local):
            best[np.arange(rows, like=k), np.maximum(own - before, 0)] = np.inf
        blocks = np.arange(n_blocks, like=k)
        return best_keys(best, blocks <= own[:, None], self.count)


@dataclass(frozen=True)
class BlockSparse:
    """Attention whose keys an indexer chooses."""

    attention: Attention
    indexer: BlockIndexer

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        mask = self.indexer(shared)
        q = self.attention.queries(shared)
        k, v = self.attention.keys_and_values(shared)
        return self.attention.attended(q, k, v, mask)

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        attention, k = self.attention, self.indexer.k
        assert attention.k is not None
        values = attention.v or attention.k
        n_heads = attention.k.n_outputs // attention.head_size
        beside = values.n_outputs // n_heads  # llama.cpp has values there, too
        return *attention.kept, Kept(k.n_outputs + beside, is_index=True)

    def alone(self) -> BlockSparse:
        """The same, with each position seeing only itself."""
        return replace(self, attention=self.attention.alone())


def load_block_sparse(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> BlockSparse:
    """The attention of layer `number`.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    attention = load_attention(facts, claims, number, traits)
    at, width = f"blk.{number}.indexer.", facts.width
    n_heads, size = facts.size(HEADS), facts.size(KEY_SIZE)
    if n_heads != facts.n_kv_heads(number):
        raise FormatError(
            f"{facts.key(HEADS)} is {int(n_heads)}; expected the number of key heads, "
            f"{int(facts.n_kv_heads(number))}"
        )
    rotary = traits.rotary
    assert rotary is not None
    if size < 2 * len(rotary.frequencies):
        raise FormatError(
            f"{facts.key(KEY_SIZE)} is {int(size)}; expected at least the "
            f"{2 * len(rotary.frequencies)} components that rotate"
        )

    def norm(name: str) -> Norm:
        weight = claims.vector(f"{at}{name}.weight", size)
        return Norm(weight, None, traits.epsilon, centered=False)

    n_local, count = facts.count(LOCAL), facts.size(TOP)
    if n_local > count:
        raise FormatError(
            f"{facts.key(LOCAL)} is {n_local}; expected at most {facts.key(TOP)}, "
            f"{int(count)}"
        )
    indexer = BlockIndexer(
        q=Linear.of(claims, f"{at}q_proj", n_heads * size, width),
        q_norm=norm("q_norm"),
        k=Linear.of(claims, f"{at}k_proj", size, width),
        k_norm=norm("k_norm"),
        rotary=rotary,
        block_size=int(facts.size(BLOCK_SIZE)),
        count=int(count),
        n_local=n_local,
    )
    return BlockSparse(attention, indexer)
