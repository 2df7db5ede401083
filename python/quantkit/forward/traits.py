"""The differences between families' forward passes, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .claims import Presence
from .facts import Facts
from .layout import Layout
from .rotary import Rotary
from .sizes import Size
from .temperature import Temperature

__all__ = ["Experts", "Traits", "nowhere"]


def _everywhere(layer: int) -> bool:
    return True


@dataclass(frozen=True)
class Experts:
    """How a mixture of experts chooses and weights experts, and which tensors it has.

    Attributes:
        count: the number of experts in a layer.
        used: the number of experts chosen for each token.
        gating: "softmax" over all experts, "softmax_of_chosen" over the chosen ones,
            or "sigmoid" or "sqrt_softplus" of each score, or "sparsemixer"; see there.
        normed: whether the weights of the chosen experts are normalized to sum to 1.
        scale: multiplies these weights.
        n_groups, groups_used: experts are chosen only from the best groups.
        group_best: how many of its best scores make the score of a group; None: 2 with
            a `choice_bias` (DeepSeek V3), else 1 (V2).
        size: the width inside each expert, by layer.
        shared_size: the width inside the shared expert, by layer; 0: there is none.
        shared_gate: whether a gate multiplies the shared expert's output.
        averaged: whether the output is the mean of the shared expert's and that of
            the others, instead of their sum.
        choice_bias: a bias of the scores that only chooses experts.
        joint: whether gate and up may be in one tensor, gate's rows first.
        by_token: which layers have a table of the experts of each token.
        n_tokens: the number of tokens, for these tables.
        bias: the biases of the router and of the experts.
        first: the first layer that has experts.
        has: which layers have experts, from `first` on.
        weighs_inputs: the weights of the chosen experts multiply their inputs, instead
            of their outputs.
        latent: the size of the vectors that experts work on; None: that of hidden
            states.
    """

    count: Size
    used: int
    size: Callable[[int], Size]
    gating: str = "softmax"
    normed: bool = False
    scale: float = 1.0
    n_groups: int = 1
    groups_used: int = 1
    group_best: int | None = None
    shared_size: Callable[[int], int] = field(default=lambda layer: 0)
    shared_gate: bool = False
    averaged: bool = False
    choice_bias: Presence = "none"
    joint: bool = False
    by_token: Callable[[int], bool] = field(default=lambda layer: False)
    n_tokens: int = 0
    bias: Presence = "none"
    first: int = 0
    has: Callable[[int], bool] = field(default=_everywhere)
    weighs_inputs: bool = False
    latent: Size | None = None


def _head_sizes(facts: Facts, layer: int) -> tuple[Size, Size]:
    return facts.key_size, facts.value_size


def nowhere(layer: int) -> bool:
    """Whether a layer has a trait that none has."""
    return False


@dataclass(frozen=True)
class Traits:
    """A decoder's properties.

    Attributes:
        epsilon: the epsilon of all norms.
        layout: which tensors it has.
        centered: LayerNorm instead of RMSNorm.
        unweighted_norms: the norms before the parts and the head have no weights.
        normed_embedding: the token embeddings are normalized, without weights.
        output_epsilon: the epsilon of the norms after the parts; None: `epsilon`.
        parallel: attention and feed-forward both read the layer's input, and both are
            added to it.
        activation: the feed-forward activation: "silu", "gelu", "gelu_tanh", "relu",
            "relu_squared" or "swiglu_clamped".
        rotary: the angles of layers with full attention; None: no rotation.
        windowed_rotary: the angles of sliding-window layers, if they differ.
        rotates: which layers rotate.
        interleaved: which components rotate together; see `ops.turn`.
        normed_heads: in which layers queries and keys are normalized without weights.
        norm_after_rotary: queries and keys are normalized after the rotation.
        values_are_keys: in which layers the matrix of keys gives the values, too, if
            there is none of values.
        values_normed: each head's values are normalized, without weights.
        head_sizes: the sizes of a layer's key heads and value heads.
        shares_keys: which layers use the keys and values of an earlier one.
        window: the number of keys that a query sees in sliding-window layers.
        chunk: the number of positions of a chunk, in sliding-window layers: a query
            sees only keys of its own chunk.
        windowed: which layers have a sliding window.
        temperature: makes queries grow with their position; None: they do not.
        tempers: in which layers they do.
        causal: queries see no later keys.
        attention_scale: multiplies the scores; None: 1 / sqrt(head size).
        attention_cap: soft cap of the scores.
        value_scale: multiplies the values.
        attention_gate: the function of the gate of heads' outputs: "sigmoid" or
            "softplus".
        alibi_bias: ALiBi's maximum bias (8 in the paper); 0: no ALiBi.
        gated: the projection of queries gives, for each head, a query and a gate; its
            sigmoid multiplies the head's output.
        clamp: clip queries, keys and values to +-clamp.
        embedding_scale, residual_scale, logit_scale: multipliers of these.
        logit_cap: soft cap of the logits.
        experts: the experts of the layers that have them.
    """

    epsilon: float
    layout: Layout
    centered: bool = False
    unweighted_norms: bool = False
    normed_embedding: bool = False
    output_epsilon: float | None = None
    parallel: bool = False
    activation: str = "silu"
    rotary: Rotary | None = None
    windowed_rotary: Rotary | None = None
    rotates: Callable[[int], bool] = field(default=_everywhere)
    interleaved: bool = False
    normed_heads: Callable[[int], bool] = field(default=nowhere)
    norm_after_rotary: bool = False
    values_are_keys: Callable[[int], bool] = field(default=nowhere)
    values_normed: bool = False
    head_sizes: Callable[[Facts, int], tuple[Size, Size]] = field(default=_head_sizes)
    shares_keys: Callable[[int], bool] = field(default=nowhere)
    window: int | None = None
    chunk: int | None = None
    windowed: Callable[[int], bool] = field(default=nowhere)
    temperature: Temperature | None = None
    tempers: Callable[[int], bool] = field(default=_everywhere)
    causal: bool = True
    attention_scale: float | None = None
    attention_cap: float | None = None
    value_scale: float = 1.0
    attention_gate: str = "sigmoid"
    alibi_bias: float = 0.0
    gated: bool = False
    clamp: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float | None = None
    experts: Experts | None = None

    def window_of(self, layer: int) -> int | None:
        """How many keys a query of the layer sees; None: all up to its own."""
        return self.window if self.windowed(layer) else None

    def chunk_of(self, layer: int) -> int | None:
        """The length of the layer's chunks; None: it has none."""
        return self.chunk if self.windowed(layer) else None

    def temperature_of(self, layer: int) -> Temperature | None:
        """What makes the layer's queries grow; None: nothing."""
        return self.temperature if self.tempers(layer) else None

    def rotary_of(self, layer: int) -> Rotary | None:
        """The angles of the layer; None: it does not rotate."""
        if not self.rotates(layer):
            return None
        if self.windowed_rotary is not None and self.windowed(layer):
            return self.windowed_rotary
        return self.rotary
