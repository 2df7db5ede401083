"""Grouped causal attention, with the variations of all families."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .layers import Linear, Norm
from .output_gate import OutputGate, load_output_gate
from .rotary import Rotary
from .sizes import Size
from .traits import Traits

__all__ = ["Attention", "alibi_slopes", "load_attention"]


@dataclass(frozen=True)
class Attention:
    """The attention of one layer.

    Attributes:
        q, k, v, output: the projections.
        head_size: the size of a query or key head.
        q_norm, k_norm: norms of each head, or of all heads as one vector.
        norm_after_rotary: whether these norms come after the rotation.
        rotary: the rotation angles; None: this layer does not rotate.
        interleaved: which components rotate together; see `ops.turn`.
        gate: multiplies the outputs of heads; None: there is none.
        gated: `q` gives, for each head, a query and a gate; see `Traits.gated`.
        clamp: clip queries, keys and values to +-clamp; None: no clipping.
        value_scale: multiplies the values, and so the output; llama.cpp scales the
            latter, so that the output projection gets the same inputs.
        scale, window, cap, slopes, sinks: see `ops.attention`.
    """

    q: Linear
    k: Linear
    v: Linear
    output: Linear
    head_size: int
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    norm_after_rotary: bool = False
    rotary: Rotary | None = None
    interleaved: bool = False
    gate: OutputGate | None = None
    gated: bool = False
    clamp: float | None = None
    value_scale: float = 1.0
    scale: float | None = None
    window: int | None = None
    cap: float | None = None
    slopes: F32 | None = None
    sinks: F32 | None = None

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        n = len(x)
        shared = Activations(x)
        q, k, v = (self._clamped(each(shared)) for each in (self.q, self.k, self.v))
        gate = None
        if self.gated:
            both = q.reshape(n, -1, 2, self.head_size)
            q, gate = both[:, :, 0], both[:, :, 1]
        turns = None if self.rotary is None else self.rotary.turns(n)
        q = self._placed(q, self.q_norm, turns)
        k = self._placed(k, self.k_norm, turns)
        v = v.reshape(n, k.shape[1], -1)
        mixed = ops.attention(
            q,
            k,
            v,
            scale=self.scale,
            window=self.window,
            cap=self.cap,
            slopes=self.slopes,
            sinks=self.sinks,
        )
        if gate is not None:
            mixed *= ops.sigmoid(np.ascontiguousarray(gate.reshape(n, -1)))
        if self.gate is not None:
            mixed = self.gate(mixed, shared)
        y = self.output(mixed)
        return y if self.value_scale == 1 else y * np.float32(self.value_scale)

    def alone(self) -> Attention:
        """The same, with each position seeing only itself."""
        return replace(self, window=1)

    def _clamped(self, x: F32) -> F32:
        return x if self.clamp is None else np.clip(x, -self.clamp, self.clamp)

    def _placed(
        self, x: F32, norm: Norm | None, turns: NDArray[np.complex64] | None
    ) -> F32:
        """The heads of x [n, heads * head size], normalized and rotated."""
        heads = (len(x), -1, self.head_size)
        if norm is not None and not self.norm_after_rotary:
            x = _normed(x, norm, heads)
        y = x.reshape(heads)
        if turns is not None:
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
    size, value_size = facts.key_size, facts.value_size
    n_q = 2 * n_heads if traits.gated else n_heads
    sizes = n_q * size, n_kv_heads * size, n_kv_heads * value_size
    q, k, v = _projections(claims, at, facts.width, sizes, traits)
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
        q_norm=_head_norm(claims, f"{at}attn_q_norm", n_heads, size, traits),
        k_norm=_head_norm(claims, f"{at}attn_k_norm", n_kv_heads, size, traits),
        norm_after_rotary=traits.norm_after_rotary,
        rotary=traits.rotary_of(number),
        interleaved=traits.interleaved,
        gate=load_output_gate(facts, claims, number, traits),
        gated=traits.gated,
        clamp=traits.clamp,
        value_scale=traits.value_scale,
        scale=traits.attention_scale,
        window=traits.window_of(number),
        cap=traits.attention_cap,
        slopes=alibi_slopes(n_heads, traits.alibi_bias) if traits.alibi_bias else None,
        sinks=claims.maybe(traits.layout.sinks, f"{at}attn_sinks.weight", n_heads),
    )


def _projections(
    claims: Claims, at: str, width: int, sizes: tuple[Size, Size, Size], traits: Traits
) -> list[Linear]:
    """The projections of queries, keys and values, which may be fused.

    A fused matrix may have three separate biases.
    """
    layout, fused = traits.layout, f"{at}attn_qkv"
    parts = [(f"{at}attn_{part}", n) for part, n in zip("qkv", sizes, strict=True)]
    if not layout.fused and f"{fused}.weight" not in claims:
        return [Linear.of(claims, *part, width, layout.query_bias) for part in parts]
    n_q, n_k, n_v = sizes
    total = n_q + n_k + n_v
    whole = Linear.of(claims, fused, total, width, layout.query_bias)
    apart = [f"{part}.bias" in claims for part, _ in parts]
    if whole.bias is None and layout.query_bias != "none" and any(apart):
        biases = [claims.vector(f"{part}.bias", n) for part, n in parts]
        whole = replace(whole, bias=np.concatenate(biases))
    ends = [0, n_q, n_q + n_k, total]
    return [whole.part(*ends[i : i + 2]) for i in range(3)]


def _head_norm(
    claims: Claims, name: str, n_heads: int, head_size: int, traits: Traits
) -> Norm | None:
    """A norm of queries or keys; see `Layout.query_norm_span`."""
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
        presence=layout.query_norms,
        bias=layout.query_norm_bias,
    )
    if norm is None or layout.query_norm_span != "heads":
        return norm
    return norm.by_heads(head_size)
