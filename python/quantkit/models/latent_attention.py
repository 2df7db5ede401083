"""Attention whose keys and values come out of a latent vector, as DeepSeek has it.

The vector is smaller than they are together (arXiv:2405.04434).  GGUF stores the map
from it as two: `attn_k_b`, transposed head by head, and `attn_v_b`.  Files from before
April 2025 have one, `attn_kv_b`, and the sizes of heads under the keys that later ones
have for those of the latent vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import ops
from .base import F32, Matrix, Weights
from .facts import Facts
from .layers import Linear, Norm
from .rotary import Rotary
from .traits import Traits

__all__ = ["LatentAttention", "latent_scale", "load_latent_attention"]


def latent_scale(facts: Facts) -> float:
    """1 / sqrt(head size), times the square of what YaRN scales by."""
    scale = _key_size(facts) ** -0.5
    share = facts.number("rope.scaling.yarn_log_multiplier", 0.0)
    factor = facts.number("rope.scaling.factor", 1.0)
    return float(scale * (1 + share * math.log(max(factor, 1.0))) ** 2)


def _key_size(facts: Facts) -> int:
    """Components of a head's queries and keys."""
    is_split = "attention.key_length_mla" in facts
    return facts.count(
        "attention.key_length_mla" if is_split else "attention.key_length"
    )


@dataclass(frozen=True)
class Apart:
    """Keys and values from the latent vector, by matrices of their own.

    Attributes:
        keys: [heads * rank, size].
        values: [heads * size, rank].
        n_heads: query heads.
    """

    keys: Matrix
    values: Matrix
    n_heads: int

    def __call__(self, latent: F32) -> tuple[F32, F32]:
        """The latent vectors [n, rank] as keys and values, both [n, heads, size]."""
        n, rank = latent.shape
        heads = [
            latent @ self.keys.rows(np.arange(head * rank, (head + 1) * rank))
            for head in range(self.n_heads)
        ]
        values = self.values.apply(latent).reshape(n, self.n_heads, -1)
        return np.stack(heads, axis=1), values


@dataclass(frozen=True)
class Together:
    """Keys and values from the latent vector, by one matrix.

    Attributes:
        both: [heads * (key size + value size), rank].
        n_heads: query heads.
        key_size: of the part that does not rotate.
    """

    both: Matrix
    n_heads: int
    key_size: int

    def __call__(self, latent: F32) -> tuple[F32, F32]:
        """The latent vectors [n, rank] as keys and values, both [n, heads, size]."""
        heads = self.both.apply(latent).reshape(len(latent), self.n_heads, -1)
        return heads[..., : self.key_size], heads[..., self.key_size :]


@dataclass(frozen=True)
class LatentAttention:
    """Attention whose keys and values come out of a latent vector.

    Attributes:
        q_down, q_norm, q_up: queries, by way of a latent vector of their own if there
            is one (`q_down` and `q_norm` are None else).
        latent: the latent vector of keys and values, and the part of the keys that
            rotates, which all heads share.
        latent_norm: of the first of the two.
        up: the parts of the keys that do not rotate, and the values, from the latent
            vector.
        output: the output projection.
        n_heads: query heads.
        rotary: the angles.
        scale: of the scores.
    """

    q_down: Linear | None
    q_norm: Norm | None
    q_up: Linear
    latent: Linear
    latent_norm: Norm
    up: Apart | Together
    output: Linear
    n_heads: int
    rotary: Rotary
    scale: float

    def __call__(self, x: F32) -> F32:
        """x [n, width], normed -> [n, width]."""
        n = len(x)
        turns = self.rotary.turns(n)
        n_turned = 2 * turns.shape[-1]
        q = self._queries(x)
        q[..., -n_turned:] = ops.turn(q[..., -n_turned:], turns, interleaved=True)
        both = self.latent(x)
        turned = ops.turn(both[:, None, -n_turned:], turns, interleaved=True)
        latent = self.latent_norm(both[:, :-n_turned])
        k, v = self.up(latent)
        k = np.concatenate([k, np.repeat(turned, self.n_heads, axis=1)], axis=-1)
        return self.output(ops.attention(q, k, v, scale=self.scale))

    def _queries(self, x: F32) -> F32:
        if self.q_down is not None and self.q_norm is not None:
            x = self.q_norm(self.q_down(x))
        return self.q_up(x).reshape(len(x), self.n_heads, -1)


def load_latent_attention(
    facts: Facts, weights: Weights, number: int, traits: Traits
) -> LatentAttention:
    """The attention of layer `number`."""
    at = f"blk.{number}.attn_"

    def norm(name: str) -> Norm:
        return Norm(weights.vector(f"{at}{name}.weight"), None, traits.epsilon, False)

    has_latent_queries = f"{at}q_a.weight" in weights
    rotary, scale = traits.rotary, traits.attention_scale
    assert rotary is not None
    assert scale is not None
    return LatentAttention(
        q_down=Linear.of(weights, f"{at}q_a") if has_latent_queries else None,
        q_norm=norm("q_a_norm") if has_latent_queries else None,
        q_up=Linear.of(weights, f"{at}q_b" if has_latent_queries else f"{at}q"),
        latent=Linear.of(weights, f"{at}kv_a_mqa"),
        latent_norm=norm("kv_a_norm"),
        up=_load_up(facts, weights, at),
        output=Linear.of(weights, f"{at}output"),
        n_heads=facts.count("attention.head_count"),
        rotary=rotary,
        scale=scale,
    )


def _load_up(facts: Facts, weights: Weights, at: str) -> Apart | Together:
    n_heads = facts.count("attention.head_count")
    if f"{at}kv_b.weight" not in weights:
        keys, values = (weights.matrix(f"{at}{part}_b.weight") for part in "kv")
        return Apart(keys, values, n_heads)
    size = _key_size(facts) - facts.count("rope.dimension_count")
    return Together(weights.matrix(f"{at}kv_b.weight"), n_heads, size)
