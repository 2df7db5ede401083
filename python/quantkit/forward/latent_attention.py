"""Multi-head latent attention (DeepSeek): keys and values come from a latent vector.

The latent vector is smaller than keys and values (arXiv:2405.04434).  GGUF stores the
projection from it as two tensors: `attn_k_b`, transposed for each head, and `attn_v_b`.
Files from before April 2025 have one tensor, `attn_kv_b`, and store the head sizes
under the keys that newer files use for the latent sizes.
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
    """The scale of scores: 1 / sqrt(head size) times the square of YaRN's magnitude."""
    scale = _key_size(facts) ** -0.5
    share = facts.number("rope.scaling.yarn_log_multiplier", 0.0)
    factor = facts.number("rope.scaling.factor", 1.0)
    return float(scale * (1 + share * math.log(max(factor, 1.0))) ** 2)


def _key_size(facts: Facts) -> int:
    """The size of a query or key head."""
    is_split = "attention.key_length_mla" in facts
    return facts.count(
        "attention.key_length_mla" if is_split else "attention.key_length"
    )


@dataclass(frozen=True)
class Apart:
    """Separate key and value matrices for each head.

    Queries are projected to the latent space instead of latent vectors to keys, since
    q.(K l) = (K^T q).l.  So all heads share one key, the latent vector, which is also
    the value.  llama.cpp multiplies in this order, so the matrices get the same inputs.

    Attributes:
        keys: the key matrix of each head, [rank, size].
        values: the value matrix of each head, [size, rank].
    """

    keys: tuple[Matrix, ...]
    values: tuple[Matrix, ...]

    def attend(self, q: F32, latent: F32, turned: F32, scale: float) -> F32:
        """The attention output: [n, heads * value size].

        Args:
            q: queries [n, heads, key size], their rotated part last.
            latent: the latent vectors [n, rank].
            turned: the rotated part of the keys [n, 1, size].
            scale: multiplies the scores.
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
    """One matrix for the keys and values of all heads.

    Attributes:
        both: [heads * (key size + value size), rank].
        key_size: the size of a key's part that does not rotate.
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
    """Attention whose keys and values come from a latent vector.

    Attributes:
        q_down, q_norm, q_up: the query projections; `q_down` and `q_norm` are None if
            queries have no latent vector.
        latent: projects to the latent vector of keys and values, followed by the
            rotated part of the keys, which all heads share.
        latent_norm: the norm of the latent vector.
        up: projects the latent vector to values and the unrotated part of the keys.
        output: the output projection.
        n_heads: the number of query heads.
        rotary: the rotation angles.
        scale: multiplies the scores.
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
        """Normalized x [n, width] -> [n, width]."""
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
