"""The decoder that families share: layers of attention and feed-forward parts.

The differences between models are in the family's `Traits` and `Layout`: norms before
or after a part, fused or separate projections, biases.
Source of the tensor names: the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import FormatError
from .attention import load_attention
from .base import Matrix
from .claims import Claims, Presence
from .facts import Facts
from .feed_forward import load_feed_forward
from .layer import Layer, Mixer, Part, Sequential
from .layers import Head, Linear, Norm
from .sizes import Size
from .stack import Opening, Stack
from .traits import Traits

__all__ = [
    "Decoder",
    "MixerLoader",
    "Opening",
    "load_decoder",
    "stack_parts",
    "vocabulary_size",
]

MixerLoader = Callable[[Facts, Claims, int, Traits], Mixer | None]
PartLoader = Callable[[Facts, Claims, int, Traits], Part | None]
Wrap = Callable[[Sequential, int], Layer]
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
POSITIONS = "position_embd.weight"


@dataclass(frozen=True, kw_only=True)
class Decoder(Stack):
    """A decoder that implements `base.Model`.

    Attributes:
        head: the output head.
    """

    head: Head


def load_decoder(
    facts: Facts,
    claims: Claims,
    traits: Traits,
    mixer: MixerLoader = load_attention,
    feed_forward: PartLoader = load_feed_forward,
    *,
    opening: Opening | None = None,
    closing: Part | None = None,
    wrap: Wrap = lambda layer, number: layer,
) -> Decoder:
    """Build a decoder from GGUF metadata and tensors.

    Args:
        facts: the metadata.
        claims: the tensors.
        traits: the family's traits.
        mixer: loads the part of a layer that mixes positions; None: it has none.
        feed_forward: loads its feed-forward part; None: it has none.
        opening, closing: see `Decoder`.
        wrap: makes a family's own layer of a layer and its number.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
        UnsupportedModelError: quantkit cannot run this model.
    """
    layout, width = traits.layout, facts.width
    n_tokens = vocabulary_size(facts, claims)
    parts = stack_parts(facts, claims, traits, mixer, feed_forward, wrap)
    head = _head_matrix(claims, parts["embedding"], (n_tokens, width), traits)
    bias = claims.maybe(layout.head_bias, "output.bias", n_tokens)
    return Decoder(
        **parts,
        head=Head(Linear(head, bias), traits.logit_scale, traits.logit_cap),
        opening=opening,
        closing=closing,
    )


def stack_parts(
    facts: Facts,
    claims: Claims,
    traits: Traits,
    mixer: MixerLoader,
    feed_forward: PartLoader,
    wrap: Wrap,
) -> dict[str, Any]:
    """The attributes of `Stack` that GGUF metadata and tensors give.

    Args:
        facts, claims, traits, mixer, feed_forward, wrap: as for `load_decoder`.
    """
    layout, width = traits.layout, facts.width
    return {
        "embedding": claims.table(EMBEDDING, vocabulary_size(facts, claims), width),
        "layers": tuple(
            wrap(_load_layer(facts, claims, i, traits, mixer, feed_forward), i)
            for i in range(facts.n_layers)
        ),
        "output_norm": _norm_before(
            claims, layout.final_norm_name, width, traits, layout.final_norm
        ),
        "embedding_scale": traits.embedding_scale,
        "embedding_norm": _embedding_norm(claims, width, traits),
        "positions": _positions(facts, claims, layout.positions),
    }


def vocabulary_size(facts: Facts, claims: Claims) -> Size:
    """The number of tokens: that of the vocabulary, else of the token embedding."""
    if facts.vocabulary is not None:
        return facts.vocabulary
    shape = claims.shapes.get(EMBEDDING, ())
    return Size(math.prod(shape[:-1]), EMBEDDING)


def _embedding_norm(claims: Claims, width: int, traits: Traits) -> Norm | None:
    """The norm of the embedded tokens; it may have no weights."""
    if traits.normed_embedding:
        return Norm(None, None, traits.epsilon, traits.centered)
    presence = traits.layout.embedding_norm
    return _norm(claims, "token_embd_norm", width, traits, presence)


def _head_matrix(
    claims: Claims, embedding: Matrix, shape: tuple[Size, Size], traits: Traits
) -> Matrix:
    """The matrix of the output head, which may be the token embedding."""
    presence = traits.layout.head
    if presence == "required" and OUTPUT not in claims:
        raise FormatError(
            f"the model has no output head ({OUTPUT!r}), and readers of this "
            "architecture do not take the token embedding in its place; if the head is "
            "tied to the embedding (tie_word_embeddings), convert the checkpoint with "
            "quantkit, which writes both; otherwise the file is incomplete"
        )
    if presence == "none" or OUTPUT not in claims:
        return embedding
    return claims.matrix(OUTPUT, *shape)


def _positions(facts: Facts, claims: Claims, presence: Presence) -> Matrix | None:
    """The position embedding, which has a row for each position of the context."""
    if presence == "none" or (presence == "optional" and POSITIONS not in claims):
        return None
    return claims.table(POSITIONS, facts.size("context_length"), facts.width)


def _load_layer(
    facts: Facts,
    claims: Claims,
    number: int,
    traits: Traits,
    load_mixer: MixerLoader,
    load_part: PartLoader,
) -> Sequential:
    """Layer `number`; a part that it does not have has no norms either."""
    at, layout, width = f"blk.{number}.", traits.layout, facts.width
    mixer = load_mixer(facts, claims, number, traits)
    feed_forward = load_part(facts, claims, number, traits)
    has_both = mixer is not None and feed_forward is not None

    after = traits
    if traits.output_epsilon is not None:
        after = replace(traits, epsilon=traits.output_epsilon)

    def norm_after(name: str, part: object) -> Norm | None:
        if part is None:
            return None
        return _norm(claims, f"{at}{name}", width, after, layout.output_norms)

    def norm_before(name: str, presence: Presence) -> Norm | None:
        return _norm_before(claims, f"{at}{name}", width, traits, presence)

    mixer_norm = None
    if mixer is not None or not layout.own_norms:
        mixer_norm = norm_before("attn_norm", layout.norms)
    feed_forward_norm = mixer_norm
    if has_both or (layout.own_norms and feed_forward is not None):
        feed_forward_norm = norm_before(
            layout.feed_forward_norm_name, layout.feed_forward_norm
        )
    second = None
    if mixer is not None:
        name = f"{at}attn_norm_2"
        second = _norm(claims, name, width, traits, layout.second_norm)
    if second is not None:
        mixer_norm, feed_forward_norm = second, mixer_norm
    return Sequential(
        mixer=mixer,
        feed_forward=feed_forward,
        mixer_norm=mixer_norm,
        mixer_out_norm=norm_after("post_attention_norm", mixer),
        feed_forward_norm=feed_forward_norm,
        feed_forward_out_norm=norm_after("post_ffw_norm", feed_forward),
        parallel=traits.parallel,
        residual_scale=traits.residual_scale,
    )


def _norm(
    claims: Claims, name: str, width: int, traits: Traits, presence: Presence
) -> Norm | None:
    bias = traits.layout.norm_bias
    return Norm.of(claims, name, (width,), traits, presence=presence, bias=bias)


def _norm_before(
    claims: Claims,
    name: str,
    width: int,
    traits: Traits,
    presence: Presence = "required",
) -> Norm | None:
    """The norm of the input of a part or the head; it may have no weights."""
    if traits.unweighted_norms:
        return Norm(None, None, traits.epsilon, traits.centered)
    return _norm(claims, name, width, traits, presence)
