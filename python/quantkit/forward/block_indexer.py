"""An indexer that chooses blocks of keys (Qwen 4 Exp).

A query sees the best of the whole blocks before it, and all keys since the last whole
one.  The key of a block is the mean of its own index keys.  Source:
modeling_qwen4_exp.py of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..settings import checked, integer
from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .indexer import HEADS, KEY_SIZE, TOP, Mask, best_keys
from .kept import Kept
from .layers import Linear, Norm
from .rotary import Rotary
from .sequences import by_sequence, keys_up_to_own, length_of, positions_of
from .traits import Traits

__all__ = ["BlockIndexer", "load_block_indexer", "seen_keys", "whole_blocks"]

RATIOS = "attention.compress_ratios"
MAX_RATIO = 2**20


@dataclass(frozen=True)
class BlockIndexer:
    """Chooses the keys that each query of a layer sees.

    Attributes:
        q, q_norm: give the queries.
        k, k_norm: give the keys, which all heads share.
        rotary: the rotation angles.
        block: the number of keys in a block; None: all keys are seen.
        count: the number of blocks that are chosen for a query.
    """

    q: Linear
    q_norm: Norm
    k: Linear
    k_norm: Norm
    rotary: Rotary
    block: int | None
    count: int

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The key of each position, and beside it that of its block."""
        return (Kept(2 * self.k.n_outputs, is_index=True),)

    def __call__(self, x: Activations) -> Mask | None:
        """Which keys each query sees: [n, n]; None: all up to its own.

        Args:
            x: the layer's normalized input [n, width].
        """
        q, k = self.q(x), self.k(x)
        rows, size = k.shape
        if self.block is None or length_of(k) // self.block <= self.count:
            return None
        turns = self.rotary.turns(k)
        q = self.q_norm(q.reshape(rows, -1, size))
        ops.turn(q, turns, interleaved=False)
        keys = by_sequence(self._block_keys, k, turns)
        weights = np.full_like(q, size**-0.5, shape=q.shape[:2])
        scores = ops.index_scores(q, keys, weights)
        chosen = best_keys(scores, whole_blocks(k, self.block), self.count)
        return seen_keys(chosen, self.block)

    def _block_keys(self, k: F32, turns: NDArray[np.complex64]) -> F32:
        """The keys of whole blocks of a sequence: [blocks, size]."""
        assert self.block is not None
        n_blocks = len(k) // self.block
        blocks = k[: n_blocks * self.block].reshape(n_blocks, self.block, -1)
        keys = self.k_norm(blocks.mean(axis=1))
        firsts = turns[:: self.block][:n_blocks].copy()
        ops.turn(keys[:, None], firsts, interleaved=False)
        return keys


def whole_blocks(x: F32, block: int) -> Mask:
    """Which blocks of its sequence are whole where a query is: [rows of x, blocks]."""
    n_whole = (positions_of(x) + 1) // block
    whole: Mask = np.arange(length_of(x) // block, like=x) < n_whole[:, None]
    return whole


def seen_keys(chosen: Mask, block: int) -> Mask:
    """Which keys are seen, from which blocks are chosen: [rows, n].

    Those since the last whole block are.
    """
    start = (positions_of(chosen) + 1) // block * block
    seen = keys_up_to_own(chosen)
    seen &= np.arange(length_of(chosen), like=chosen) >= start[:, None]
    seen[:, : chosen.shape[1] * block] |= np.repeat(chosen, block, axis=1)
    return seen


def _ratio(facts: Facts, number: int) -> int:
    """The number of keys in a block in layer `number`; 0: no blocks are chosen."""
    kind = integer(0, MAX_RATIO)
    values = facts.layer_values(RATIOS)
    if values is None:
        return facts.count(RATIOS, 0, kind)
    checked(values[number], kind, f"{facts.key(RATIOS)}[{number}]")
    return int(values[number])


def load_block_indexer(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> BlockIndexer:
    """The indexer of layer `number`.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    at, rotary = f"blk.{number}.indexer.", traits.rotary_of(number)
    assert rotary is not None
    n_heads, size, budget = (facts.size(key) for key in (HEADS, KEY_SIZE, TOP))
    n_turned = 2 * len(rotary.frequencies)
    if size < n_turned:
        raise FormatError(
            f"{facts.key(KEY_SIZE)} is {int(size)}; expected at least the {n_turned} "
            "components that rotate"
        )
    ratio = _ratio(facts, number)
    if ratio == 1 or (ratio and budget % ratio):
        raise FormatError(
            f"{facts.key(RATIOS)}[{number}] is {ratio}; expected 0, or at least 2 and "
            f"a divisor of {facts.key(TOP)}, {int(budget)}"
        )

    def norm(name: str) -> Norm:
        weight = claims.vector(f"{at}{name}.weight", size)
        return Norm(weight, None, traits.epsilon, centered=False)

    return BlockIndexer(
        q=Linear.of(claims, f"{at}q_proj", n_heads * size, facts.width),
        q_norm=norm("q_norm"),
        k=Linear.of(claims, f"{at}k_proj", size, facts.width),
        k_norm=norm("k_norm"),
        rotary=rotary,
        block=ratio or None,
        count=int(budget // ratio) if ratio else 0,
    )
