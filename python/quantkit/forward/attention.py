"""Grouped causal attention, with the variations of all families."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear, Norm
from .output_gate import OutputGate, load_output_gate
from .rotary import Rotary
from .sight import Mask, Sight
from .sizes import Size
from .temperature import Temperature
from .traits import Traits

__all__ = ["Attention", "alibi_slopes", "load_attention"]

Sizes = tuple[Size, Size, Size]
Projections = tuple[Linear, Linear | None, Linear | None]


class Chooser(Protocol):
    """What an indexer is."""

    @property
    def kept(self) -> tuple[Kept, ...]:
        """See `layer.Mixer.kept`."""

    def __call__(self, x: Activations) -> Mask | None:
        """A mask for `ops.attention`, or None, of the layer's normalized input."""


@dataclass(frozen=True)
class Attention:
    """The attention of one layer.

    Attributes:
        q, k, v, output: the projections.  Without `v`, that of the keys gives the
            values, too; without both, keys and values are those of another layer.
        head_size: the size of a query or key head.
        q_norm, k_norm: norms of each head, or of all heads as one vector.
        v_norm: the norm of each head's values.
        norm_after_rotary: whether these norms come after the rotation.
        rotary: the rotation angles; None: this layer does not rotate.
        interleaved: which components rotate together; see `ops.turn`.
        gate: multiplies the outputs of heads; None: there is none.
        gated: `q` gives, for each head, a query and a gate; see `Traits.gated`.
        temperature: makes queries grow with their position.
        clamp: clip queries, keys and values to +-clamp; None: no clipping.
        value_scale: multiplies the values, and so the output; llama.cpp scales the
            latter, so that the output projection gets the same inputs.
        sight: which keys queries see, and how much of each.
        chooser: chooses the keys that each query sees; None: `sight` alone tells.
    """

    q: Linear
    k: Linear | None
    v: Linear | None
    output: Linear
    head_size: int
    sight: Sight
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    v_norm: Norm | None = None
    norm_after_rotary: bool = False
    rotary: Rotary | None = None
    interleaved: bool = False
    gate: OutputGate | None = None
    gated: bool = False
    temperature: Temperature | None = None
    clamp: float | None = None
    value_scale: float = 1.0
    chooser: Chooser | None = None

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        shared = Activations(x)
        q, factor = self._without_gate(self.q(shared))
        q = self._placed_queries(q)
        chosen = None if self.chooser is None else self.chooser(shared)
        mixed = self.sight.mixed(q, *self.keys_and_values(shared), chosen)
        if factor is not None:
            mixed *= factor
        if self.gate is not None:
            mixed = self.gate(mixed, shared)
        return self._given_out(mixed)

    def queries(self, x: Activations) -> F32:
        """The queries of normalized x: [n, heads, head size]."""
        return self._placed_queries(self.q(x))

    def keys_and_values(self, x: Activations) -> tuple[F32, F32]:
        """Those of normalized x: [n, KV heads, head size], [n, KV heads, size]."""
        assert self.k is not None
        k = self._clamped(self.k(x))
        v = k.copy() if self.v is None else self._clamped(self.v(x))
        k = self._placed(k, self.k_norm)
        v = v.reshape(len(v), k.shape[1], -1)
        return k, v if self.v_norm is None else self.v_norm(v)

    def attended(self, q: F32, k: F32, v: F32, mask: Mask | None = None) -> F32:
        """The output of queries that see these keys and values: [n, width]."""
        return self._given_out(self.sight.mixed(q, k, v, mask))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        if self.k is None:
            return ()
        size = self.k.n_outputs + (self.v or self.k).n_outputs
        own = Kept(size, self.sight.window or self.sight.chunk)
        return (own,) if self.chooser is None else (own, *self.chooser.kept)

    def alone(self) -> Attention:
        """The same, with each position seeing only itself."""
        return replace(self, sight=self.sight.alone(), temperature=None)

    def _without_gate(self, q: F32) -> tuple[F32, F32 | None]:
        """The queries of `q`'s product, and what multiplies the outputs of heads."""
        if not self.gated:
            return q, None
        both = q.reshape(len(q), -1, 2, self.head_size)
        query, gate = (
            ops.contiguous(both[:, :, i]).reshape(len(q), -1) for i in (0, 1)
        )
        return query, ops.sigmoid(gate)

    def _placed_queries(self, q: F32) -> F32:
        q = self._placed(self._clamped(q), self.q_norm)
        return q if self.temperature is None else self.temperature.applied(q)

    def _given_out(self, mixed: F32) -> F32:
        y = self.output(mixed)
        return y if self.value_scale == 1 else y * np.float32(self.value_scale)

    def _clamped(self, x: F32) -> F32:
        return x if self.clamp is None else np.clip(x, -self.clamp, self.clamp)

    def _placed(self, x: F32, norm: Norm | None) -> F32:
        """The heads of x [n, heads * head size], normalized and rotated."""
        heads = (len(x), -1, self.head_size)
        if norm is not None and not self.norm_after_rotary:
            x = _normed(x, norm, heads)
        y = x.reshape(heads)
        if self.rotary is not None:
            turns = self.rotary.turns(x)
            y = ops.turn(y, turns, interleaved=self.interleaved)
        if norm is not None and self.norm_after_rotary:
            y = _normed(y, norm, heads)
        return y


def _normed(x: F32, norm: Norm, heads: tuple[int, int, int]) -> F32:
    """x with each head normalized, or all heads at once if the weights span them."""
    weight = norm.weight
    if weight is None or weight.shape[-1] == heads[-1]:
        return norm(x.reshape(heads))
    return norm(x.reshape(len(x), -1))


def alibi_slopes(n_heads: int, max_bias: float) -> F32:
    """ALiBi's slopes: what each head subtracts from a score per position of distance.

    A geometric sequence for the largest power of two up to `n_heads`; further heads use
    every other term of the sequence for twice that number.  Source: arXiv:2108.12409.
    """
    n_even = 1 << (n_heads.bit_length() - 1)
    first = 2.0 ** (-max_bias / n_even)
    between = 2.0 ** (-max_bias / 2 / n_even)
    slopes = [first ** (i + 1) for i in range(n_even)]
    slopes += [between ** (2 * i + 1) for i in range(n_heads - n_even)]
    return np.array(slopes, np.float32)


def load_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Attention:
    """The attention of layer `number`."""
    at = f"blk.{number}."
    n_heads, n_kv_heads = facts.n_heads(number), facts.n_kv_heads(number)
    size, value_size = traits.head_sizes(facts, number)
    n_q = 2 * n_heads if traits.gated else n_heads
    sizes = n_q * size, n_kv_heads * size, n_kv_heads * value_size
    shares = traits.shares_keys(number)
    if shares:
        q, k, v = _query_projection(claims, at, facts.width, sizes, traits)
    elif traits.values_are_keys(number) and not claims.has(f"{at}attn_v.weight"):
        q, k, v = _two_projections(claims, at, facts.width, sizes, traits)
    else:
        q, k, v = _projections(claims, at, facts.width, sizes, traits)
    bare = Norm(None, None, traits.epsilon, centered=False)
    is_normed = traits.normed_heads(number)
    return Attention(
        q=q,
        k=k,
        v=v,
        output=Linear.of(
            claims,
            f"{at}attn_output",
            facts.width,
            n_heads * value_size,
            traits.layout.attention_bias,
        ),
        head_size=size,
        sight=_sight(claims, number, n_heads, traits),
        q_norm=bare
        if is_normed
        else _head_norm(claims, f"{at}attn_q_norm", n_heads, size, traits),
        k_norm=bare
        if is_normed
        else _head_norm(
            claims, f"{at}attn_k_norm", n_kv_heads, size, traits, unused=shares
        ),
        v_norm=bare if traits.values_normed else None,
        norm_after_rotary=traits.norm_after_rotary,
        rotary=traits.rotary_of(number),
        interleaved=traits.interleaved,
        gate=load_output_gate(facts, claims, number, traits),
        gated=traits.gated,
        temperature=traits.temperature_of(number),
        clamp=traits.clamp,
        value_scale=traits.value_scale,
    )


def _sight(claims: Claims, number: int, n_heads: Size, traits: Traits) -> Sight:
    """Which keys the queries of layer `number` see."""
    return Sight(
        causal=traits.causal,
        scale=traits.attention_scale,
        window=traits.window_of(number),
        chunk=traits.chunk_of(number),
        cap=traits.attention_cap,
        slopes=claims.placed(alibi_slopes(n_heads, traits.alibi_bias))
        if traits.alibi_bias
        else None,
        sinks=claims.maybe(
            traits.layout.sinks, f"blk.{number}.attn_sinks.weight", n_heads
        ),
    )


def _projections(
    claims: Claims, at: str, width: int, sizes: Sizes, traits: Traits
) -> Projections:
    """The projections of queries, keys and values, which may be fused.

    A fused matrix may have three separate biases.
    """
    layout, fused = traits.layout, f"{at}attn_qkv"
    parts = [(f"{at}attn_{part}", n) for part, n in zip("qkv", sizes, strict=True)]
    if not layout.fused and f"{fused}.weight" not in claims:
        q, k, v = (Linear.of(claims, *part, width, layout.query_bias) for part in parts)
        return q, k, v
    n_q, n_k, n_v = sizes
    total = n_q + n_k + n_v
    whole = Linear.of(claims, fused, total, width, layout.query_bias)
    apart = [f"{part}.bias" in claims for part, _ in parts]
    if whole.bias is None and layout.query_bias != "none" and any(apart):
        biases = [claims.vector(f"{part}.bias", n) for part, n in parts]
        whole = replace(whole, bias=np.concatenate(biases))
    ends = [0, n_q, n_q + n_k, total]
    q, k, v = (whole.part(*ends[i : i + 2]) for i in range(3))
    return q, k, v


def _two_projections(
    claims: Claims, at: str, width: int, sizes: Sizes, traits: Traits
) -> Projections:
    """The projections of queries and keys, if that of keys gives the values, too."""
    parts, bias = zip("qk", sizes[:2], strict=True), traits.layout.query_bias
    q, k = (Linear.of(claims, f"{at}attn_{x}", n, width, bias) for x, n in parts)
    return q, k, None


def _query_projection(
    claims: Claims, at: str, width: int, sizes: Sizes, traits: Traits
) -> Projections:
    """The projection of queries that see the keys and values of another layer.

    Some checkpoints have the other matrices nevertheless.
    """
    for part, n_rows in zip("kv", sizes[1:], strict=True):
        if (name := f"{at}attn_{part}.weight") in claims:
            claims.table(name, n_rows, width)
    bias = traits.layout.query_bias
    return Linear.of(claims, f"{at}attn_q", sizes[0], width, bias), None, None


def _head_norm(
    claims: Claims,
    name: str,
    n_heads: int,
    head_size: int,
    traits: Traits,
    *,
    unused: bool = False,
) -> Norm | None:
    """A norm of queries or keys that has weights; see `Layout.query_norm_span`."""
    layout = traits.layout
    shapes = {
        "head": (head_size,),
        "heads": (n_heads, head_size),
        "all": (n_heads * head_size,),
    }
    norm = Norm.of(
        claims,
        name,
        shapes[layout.query_norm_span],
        traits,
        presence="optional" if unused else layout.query_norms,
        bias=layout.query_norm_bias,
    )
    if norm is None or layout.query_norm_span != "heads":
        return norm
    return norm.by_heads(head_size)
