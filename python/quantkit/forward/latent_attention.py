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

from . import ops
from .base import F32, Activations, Matrix, Weights
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
    """Keys and values from the latent vector, by matrices of their own for each head.

    Queries are brought to the latent vectors instead of these to them: q.(K l) is
    (K^T q).l, and so all heads share one key, the latent vector, which is the value as
    well.  That is how llama.cpp multiplies, so that the matrices see the same.

    Attributes:
        keys: of each head, [rank, size].
        values: of each head, [size, rank].
    """

    keys: tuple[Matrix, ...]
    values: tuple[Matrix, ...]

    def attend(self, q: F32, latent: F32, turned: F32, scale: float) -> F32:
        """What the heads of q [n, heads, key size] see: [n, heads * value size].

        Args:
            q: queries, the part that rotates last.
            latent: the latent vectors [n, rank].
            turned: the part of the keys that rotates [n, 1, size].
            scale: of the scores.
        """
        size = q.shape[-1] - turned.shape[-1]
        moved = [key.apply(q[:, head, :size]) for head, key in enumerate(self.keys)]
        q = np.concatenate([np.stack(moved, axis=1), q[..., size:]], axis=-1)
        both = latent[:, None]
        k = np.concatenate([both, turned], axis=-1)
        seen = ops.attention(q, k, both, scale=scale).reshape(*q.shape[:2], -1)
        heads = enumerate(self.values)
        return np.concatenate([v.apply(seen[:, head]) for head, v in heads], axis=-1)


@dataclass(frozen=True)
class Together:
    """Keys and values from the latent vector, by one matrix.

    Attributes:
        both: [heads * (key size + value size), rank].
        key_size: of the part that does not rotate.
    """

    both: Matrix
    key_size: int

    def attend(self, q: F32, latent: F32, turned: F32, scale: float) -> F32:
        """See `Apart.attend`."""
        n, n_heads, _ = q.shape
        heads = self.both.apply(latent).reshape(n, n_heads, -1)
        k, v = heads[..., : self.key_size], heads[..., self.key_size :]
        k = np.concatenate([k, np.repeat(turned, n_heads, axis=1)], axis=-1)
        return ops.attention(q, k, v, scale=scale)


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
        shared = Activations(x)
        q = self._queries(shared)
        ops.turn(q[..., -n_turned:], turns, interleaved=True)
        both = self.latent(shared)
        turned = ops.turn(both[:, None, -n_turned:], turns, interleaved=True)
        latent = self.latent_norm(both[:, :-n_turned])
        return self.output(self.up.attend(q, latent, turned, self.scale))

    def _queries(self, x: F32 | Activations) -> F32:
        if self.q_down is not None and self.q_norm is not None:
            x = self.q_norm(self.q_down(x))
        q = self.q_up(x)
        return q.reshape(len(q), self.n_heads, -1)


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
        keys = _heads(weights, f"{at}k_b.weight", n_heads)
        return Apart(keys, _heads(weights, f"{at}v_b.weight", n_heads))
    size = _key_size(facts) - facts.count("rope.dimension_count")
    return Together(weights.matrix(f"{at}kv_b.weight"), size)


def _heads(weights: Weights, name: str, n_heads: int) -> tuple[Matrix, ...]:
    """The matrices of all heads, which are stacked in one tensor."""
    matrix = weights.matrix(name)
    step = matrix.shape[0] // n_heads
    return tuple(matrix.part(i * step, (i + 1) * step) for i in range(n_heads))
