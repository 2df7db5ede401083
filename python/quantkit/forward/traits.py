"""What a family's forward pass is, as data: the differences between decoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .rotary import Rotary

__all__ = ["Experts", "Traits"]


@dataclass(frozen=True)
class Experts:
    """How a mixture of experts chooses.

    Attributes:
        count: experts in a layer.
        used: experts that a token goes through.
        gating: "softmax" over all experts, "softmax_of_chosen" over those used, or
            "sigmoid" of each.
        normed: whether the weights of those used are made to add up to 1.
        scale: of these weights.
        n_groups, groups_used: experts are chosen from the best groups only.
    """

    count: int
    used: int
    gating: str = "softmax"
    normed: bool = False
    scale: float = 1.0
    n_groups: int = 1
    groups_used: int = 1


def _everywhere(layer: int) -> bool:
    return True


def _nowhere(layer: int) -> bool:
    return False


@dataclass(frozen=True)
class Traits:
    """A decoder, but for its weights.

    Attributes:
        epsilon: of all norms.
        centered: LayerNorm instead of RMSNorm.
        unweighted_norms: the norms of what the parts and the head read are there, but
            have no weights.
        parallel: attention and feed forward both read the layer's input, and both are
            added to it.
        activation: of the feed forward: "silu", "gelu", "gelu_tanh", "relu" or
            "swiglu_clamped".
        rotary: the angles of layers that see everything; None: no rotation.
        windowed_rotary: the angles of layers with a window, where they differ.
        rotates: which layers rotate.
        interleaved: which components rotate together; see `ops.turn`.
        norm_after_rotary: queries and keys are normed after the rotation.
        norms_by_head: the norms of queries and keys have weights for each head.
        window: keys that a query sees in the layers that `windowed` names.
        windowed: which layers have the window.
        attention_scale: of the scores; None: 1 / sqrt(head size).
        attention_cap: what the scores are soft-capped to.
        alibi_bias: the largest slope's exponent (8 in the paper); 0: no ALiBi.
        clamp: what queries, keys and values are clipped to.
        embedding_scale, residual_scale, logit_scale: what these are multiplied by.
        logit_cap: what logits are soft-capped to.
        experts: of the layers that have them.
    """

    epsilon: float
    centered: bool = False
    unweighted_norms: bool = False
    parallel: bool = False
    activation: str = "silu"
    rotary: Rotary | None = None
    windowed_rotary: Rotary | None = None
    rotates: Callable[[int], bool] = field(default=_everywhere)
    interleaved: bool = False
    norm_after_rotary: bool = False
    norms_by_head: bool = False
    window: int | None = None
    windowed: Callable[[int], bool] = field(default=_nowhere)
    attention_scale: float | None = None
    attention_cap: float | None = None
    alibi_bias: float = 0.0
    clamp: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float | None = None
    experts: Experts | None = None

    def window_of(self, layer: int) -> int | None:
        """How many keys a query of the layer sees; None: all before it."""
        return self.window if self.windowed(layer) else None

    def rotary_of(self, layer: int) -> Rotary | None:
        """The angles of the layer."""
        if not self.rotates(layer):
            return None
        if self.windowed_rotary is not None and self.windowed(layer):
            return self.windowed_rotary
        return self.rotary
