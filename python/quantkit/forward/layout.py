"""Which tensors the models of a family have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .claims import Presence

__all__ = ["BIASED", "Gate", "Layout", "OutputGate"]

Gate = Literal["none", "separate", "fused"]
"""Where the gate of a feed-forward part is: nowhere, in its own matrix, or in `up`."""

OutputGate = Literal["none", "components", "heads", "either"]
"""What the gate of attention's output has a row for: nothing (there is none), each
component of each head, each head, or either of them."""


@dataclass(frozen=True)
class Layout:
    """The tensors of a family beside embedding, projections and their norms.

    Source: `load_arch_tensors` of each architecture in llama.cpp, build 11434.  It
    refuses files that lack a required tensor, and files with further tensors.

    Attributes:
        norms: the norm before attention.
        norm_bias: the biases of all norms but those of queries and keys.
        own_norms: a layer with one part has the norm of that part's name; else it has
            the norm before attention.
        feed_forward_norm: the norm before the feed-forward part.
        feed_forward_norm_name: its name in a layer.
        second_norm: `attn_norm_2`, Falcon's name for the norm before attention if there
            are two norms.
        output_norms: norms after attention and feed-forward.
        embedding_norm: a norm after the token embedding.
        final_norm, final_norm_name: the norm after the last layer, and its name.
        positions: a position embedding.
        head: the output head; if a model has none, it uses the token embedding.
        head_bias: the bias of the head.
        fused: queries, keys and values: always in one matrix, or in one or three.
        query_bias: the biases of queries, keys and values.
        attention_bias: the bias after attention.
        attention_gate: see `OutputGate`.
        query_norms: norms of queries and keys.
        query_norm_bias: their biases.
        query_norm_span: what their weights span: one head, all heads ("all", a norm
            over all heads at once), or each head by itself ("heads").
        sinks: attention sinks.
        gate: see `Gate`.
        inner_divisor: `feed_forward_length` counts gate and up together if it is 2.
        feed_forward_bias: the biases of the feed-forward part.
        frequencies: rope_freqs, the factors of rotary frequencies.
        long_frequencies: LongRoPE's factors: "stated" if `rope.scaling.type` says so.
    """

    norms: Presence = "required"
    norm_bias: Presence = "none"
    own_norms: bool = False
    feed_forward_norm: Presence = "required"
    feed_forward_norm_name: str = "ffn_norm"
    second_norm: Presence = "none"
    output_norms: Presence = "none"
    embedding_norm: Presence = "none"
    final_norm: Presence = "required"
    final_norm_name: str = "output_norm"
    positions: Presence = "none"
    head: Presence = "optional"
    head_bias: Presence = "none"
    fused: bool = False
    query_bias: Presence = "optional"
    attention_bias: Presence = "none"
    attention_gate: OutputGate = "none"
    query_norms: Presence = "none"
    query_norm_bias: Presence = "none"
    query_norm_span: Literal["head", "heads", "all"] = "head"
    sinks: Presence = "none"
    gate: Gate = "separate"
    inner_divisor: int = 1
    feed_forward_bias: Presence = "none"
    frequencies: Presence = "none"
    long_frequencies: Literal["none", "stated", "optional"] = "none"


BIASED = Layout(
    norm_bias="required",
    fused=True,
    query_bias="required",
    attention_bias="required",
    gate="none",
    feed_forward_bias="required",
)
"""LayerNorm, fused attention, a plain feed-forward part, biases everywhere: GPT-2."""
