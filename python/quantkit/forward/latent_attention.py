"""Multi-head latent attention (DeepSeek): keys and values come from a latent vector.

The latent vector is smaller than keys and values (arXiv:2405.04434).  GGUF stores the
projection from it as two tensors: `attn_k_b`, transposed for each head, and `attn_v_b`.
Files from before April 2025 have one tensor, `attn_kv_b`, and store the head sizes
under the keys that newer files use for the latent sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import ops
from .base import F32, Activations, Matrix
from .claims import Claims
from .facts import Facts
from .indexer import ChoiceOfKeys, Mask, load_indexer
from .kept import Kept, State
from .layers import Linear, Norm
from .output_gate import OutputGate
from .rotary import Rotary, rotated_size, scaling_factor
from .sizes import Size
from .temperature import Temperature
from .traits import Traits

__all__ = [
    "LatentAttention",
    "LatentSizes",
    "latent_scale",
    "load_indexed_attention",
    "load_latent_attention",
]


KEY_LENGTH = "attention.key_length"


def latent_scale(facts: Facts) -> float:
    """The scale of scores: 1 / sqrt(head size) times the square of YaRN's magnitude."""
    scale = _head_sizes(facts)[0] ** -0.5
    share = facts.number("rope.scaling.yarn_log_multiplier", 0.0)
    factor = scaling_factor(facts)
    return float(scale * (1 + share * math.log(max(factor, 1.0))) ** 2)


def _head_sizes(facts: Facts) -> tuple[Size, Size]:
    """The sizes of a key head and of a value head."""
    if not _has_split_keys(facts):
        return facts.key_size, facts.value_size
    return facts.size(f"{KEY_LENGTH}_mla"), facts.size("attention.value_length_mla")


@dataclass(frozen=True)
class LatentSizes:
    """The sizes of a layer's latent attention.

    Attributes:
        rank: that of the latent vector of keys and values.
        key: that of a key head.
        value: that of a value head.
    """

    rank: Size
    key: Size
    value: Size

    @classmethod
    def of(cls, facts: Facts) -> LatentSizes:
        """The sizes of all layers, if they are alike."""
        return cls(facts.size("attention.kv_lora_rank"), *_head_sizes(facts))


def _has_split_keys(facts: Facts) -> bool:
    """Whether keys and values have separate matrices, as in newer files."""
    return f"{KEY_LENGTH}_mla" in facts


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

    def attend(self, q: F32, latent: F32, turned: F32, **how: Any) -> F32:
        """The attention output: [n, heads * value size].

        Args:
            q: queries [n, heads, key size], their rotated part last.
            latent: the latent vectors [n, rank].
            turned: the rotated part of the keys [n, 1, size].
            how: scale, window, mask and sinks; see `ops.attention`.
        """
        size = q.shape[-1] - turned.shape[-1]
        moved = [key.apply(q[:, head, :size]) for head, key in enumerate(self.keys)]
        q = np.concatenate([np.stack(moved, axis=1), q[..., size:]], axis=-1)
        both = latent[:, None]
        k = np.concatenate([both, turned], axis=-1)
        seen = ops.attention(q, k, both, **how)
        seen = seen.reshape(*q.shape[:2], -1)
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

    def attend(self, q: F32, latent: F32, turned: F32, **how: Any) -> F32:
        """See `Apart.attend`."""
        n, n_heads, _ = q.shape
        heads = self.both.apply(latent).reshape(n, n_heads, -1)
        k, v = heads[..., : self.key_size], heads[..., self.key_size :]
        k = np.concatenate([k, np.repeat(turned, n_heads, axis=1)], axis=-1)
        return ops.attention(q, k, v, **how)


@dataclass(frozen=True)
class LatentAttention:
    """Attention whose keys and values come from a latent vector.

    Attributes:
        q_down, q_norm, q_up: the query projections; `q_down` and `q_norm` are None if
            queries have no latent vector.
        latent: projects to the latent vector of keys and values, followed by the
            rotated part of the keys, which all heads share.
        latent_norm: the norm of the latent vector.
        turned_norm: the norm of the rotated part of the keys, before the rotation.
        up: projects the latent vector to values and the unrotated part of the keys.
        output: the output projection.
        n_heads: the number of query heads.
        rotary: the rotation angles.
        interleaved: which components rotate together; see `ops.turn`.
        scale, window: see `ops.attention`.
        temperature: makes queries grow with their position.
        indexer: chooses the keys that each query sees; None: all up to its own.
        gate: multiplies the outputs of heads; None: there is none.
        sinks: see `ops.attention`.
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
    window: int | None = None
    interleaved: bool = True
    temperature: Temperature | None = None
    indexer: ChoiceOfKeys | None = None
    gate: OutputGate | None = None
    turned_norm: Norm | None = None
    sinks: F32 | None = None

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        latent = self.latent_queries(shared)
        chosen = None if self.indexer is None else self.indexer(shared, latent)
        return self.attended(shared, latent, chosen)

    def latent_queries(self, x: Activations) -> Activations:
        """What `q_up` gets of the layer's input."""
        if self.q_down is None or self.q_norm is None:
            return x
        return Activations(self.q_norm(self.q_down(x)))

    def attended(
        self, x: Activations, latent_q: Activations, chosen: Mask | None
    ) -> F32:
        """The output [n, width].

        Args:
            x: the layer's normalized input.
            latent_q: `latent_queries` of it.
            chosen: which keys each query sees [n, n]; None: all up to its own.
        """
        n = len(x.values)
        turns, how = self.rotary.turns(x.values), {"interleaved": self.interleaved}
        n_turned = 2 * turns.shape[-1]
        q = self.q_up(latent_q).reshape(n, self.n_heads, -1)
        if n_turned:
            ops.turn(q[..., -n_turned:], turns, **how)
        if self.temperature is not None:
            q = self.temperature.applied(q)
        both = self.latent(x)
        rank = both.shape[-1] - n_turned
        turned = both[:, None, rank:]
        if self.turned_norm is not None:
            turned = self.turned_norm(ops.contiguous(turned))
        if n_turned:
            ops.turn(turned, turns, **how)
        latent = self.latent_norm(both[:, :rank])
        mixed = self.up.attend(
            q,
            latent,
            turned,
            scale=self.scale,
            window=self.window,
            mask=None if self.window else chosen,
            sinks=self.sinks,
        )
        return self.output(mixed if self.gate is None else self.gate(mixed, x))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        own = Kept(self.latent.n_outputs, self.window)
        if isinstance(self.up, Together):
            n_turned = 2 * len(self.rotary.frequencies)
            own = Kept(self.up.both.shape[0] + self.n_heads * n_turned, self.window)
        return (own,) if self.indexer is None else (own, *self.indexer.kept)

    def alone(self) -> LatentAttention:
        """The same, with each position seeing only itself."""
        return replace(self, window=1, temperature=None)


def load_latent_attention(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    sizes: LatentSizes | None = None,
) -> LatentAttention:
    """The attention of layer `number`; `sizes`: those of the layer, if they differ."""
    at = f"blk.{number}.attn_"
    width, n_heads = facts.width, facts.n_heads(number)
    sizes = LatentSizes.of(facts) if sizes is None else sizes
    rank, key_size, value_size = sizes.rank, sizes.key, sizes.value
    n_turned = rotated_size(facts, key_size, least=0)

    def norm(name: str, size: int) -> Norm:
        weight = claims.vector(f"{at}{name}.weight", size)
        return Norm(weight, None, traits.epsilon, centered=False)

    q_down = q_norm = None
    q_name, q_width = "q", width
    if facts.count("attention.q_lora_rank", 0):
        q_name, q_width = "q_b", facts.size("attention.q_lora_rank")
        q_down = Linear.of(claims, f"{at}q_a", q_width, width)
        q_norm = norm("q_a_norm", q_width)
    rotary, scale = traits.rotary, traits.attention_scale
    assert rotary is not None
    assert scale is not None
    return LatentAttention(
        q_down=q_down,
        q_norm=q_norm,
        q_up=Linear.of(claims, f"{at}{q_name}", n_heads * key_size, q_width),
        latent=Linear.of(claims, f"{at}kv_a_mqa", rank + n_turned, width),
        latent_norm=norm("kv_a_norm", rank),
        up=_load_up(facts, claims, at, n_heads, sizes),
        output=Linear.of(claims, f"{at}output", width, n_heads * value_size),
        n_heads=n_heads,
        rotary=rotary,
        scale=scale,
        temperature=traits.temperature_of(number),
    )


def _load_up(
    facts: Facts, claims: Claims, at: str, n_heads: Size, sizes: LatentSizes
) -> Apart | Together:
    rank, key_size, value_size = sizes.rank, sizes.key, sizes.value
    size = key_size - rotated_size(facts, key_size, least=0)
    if _has_split_keys(facts):
        keys = _heads(claims, f"{at}k_b.weight", n_heads, rank, size)
        values = _heads(claims, f"{at}v_b.weight", n_heads, value_size, rank)
        return Apart(keys, values)
    n_rows = n_heads * (size + value_size)
    return Together(claims.matrix(f"{at}kv_b.weight", n_rows, rank), size)


def _heads(
    claims: Claims, name: str, n_heads: int, n_rows: int, n_cols: int
) -> tuple[Matrix, ...]:
    """The matrices [n_rows, n_cols] of all heads, stacked in one tensor."""
    matrix = claims.matrix(name, n_heads, n_rows, n_cols)
    return tuple(matrix.part(i * n_rows, (i + 1) * n_rows) for i in range(n_heads))


def load_indexed_attention(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    sizes: LatentSizes | None = None,
) -> LatentAttention:
    """The same; an indexer chooses its keys."""
    attention = load_latent_attention(facts, claims, number, traits, sizes)
    rank = facts.size("attention.q_lora_rank")
    indexer = load_indexer(facts, claims, number, attention.rotary, rank)
    return replace(attention, indexer=indexer)
