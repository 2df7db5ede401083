"""The role and layer of a tensor, and the conditions that recipes test.

Source of the roles and conditions: llama.cpp's llama-quant.cpp, build 11434 (its roles
are from ggml-org/llama.cpp#19770).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ..types import QuantType
from .facts import ModelFacts

__all__ = [
    "ALWAYS",
    "EIGHTH_BY_COUNT",
    "EXPERTS_4",
    "EXPERTS_8",
    "FALCON",
    "FFN",
    "FIRST_2",
    "FIRST_4",
    "FIRST_8TH",
    "FIRST_16TH",
    "GQA_4",
    "IMPORTANCE",
    "MIDDLE",
    "MORE_BITS",
    "NO_IMPORTANCE",
    "STACKED",
    "UNTIED",
    "Case",
    "Place",
    "Role",
    "When",
]


class Role(enum.Enum):
    """The role of a tensor, as far as recipes distinguish them."""

    OUTPUT = "output head"
    TOKEN_EMBD = "token embedding"
    ATTN_V = "attention values"
    ATTN_K = "attention keys"
    ATTN_Q = "attention queries"
    ATTN_OUTPUT = "attention output"
    FFN_UP = "feed-forward up"
    FFN_GATE = "feed-forward gate"
    FFN_DOWN = "feed-forward down"
    OTHER = "other weights"

    @classmethod
    def of(cls, name: str) -> Role:
        """The role of the tensor called `name`."""
        if name in _ROLE_OF_NAME:
            return _ROLE_OF_NAME[name]
        return next((role for part, role in _ROLE_OF_PART if part in name), cls.OTHER)


_ROLE_OF_NAME = {
    "output.weight": Role.OUTPUT,
    "token_embd.weight": Role.TOKEN_EMBD,
    "per_layer_token_embd.weight": Role.TOKEN_EMBD,
}

# The first match decides.  Fused weights that include values have the role ATTN_V; the
# ffn parts also match routed and shared experts.
_ROLE_OF_PART = (
    ("attn_qkv.weight", Role.ATTN_V),
    ("attn_kv_b.weight", Role.ATTN_V),
    ("attn_v.weight", Role.ATTN_V),
    ("attn_k.weight", Role.ATTN_K),
    ("attn_q.weight", Role.ATTN_Q),
    ("attn_output.weight", Role.ATTN_OUTPUT),
    ("ffn_up", Role.FFN_UP),
    ("ffn_gate", Role.FFN_GATE),
    ("ffn_down", Role.FFN_DOWN),
)


FFN = (Role.FFN_UP, Role.FFN_GATE, Role.FFN_DOWN)


@dataclass(frozen=True)
class Place:
    """The position of a tensor in its model.

    Attributes:
        facts: the model's facts.
        name: GGUF name.
        role: the tensor's role.
        n_cols: weights per row.
        is_stacked: the tensor contains several matrices, such as one per expert.
        seen: the number of tensors of the same role before it.
        index: `seen`; for feed-forward weights of a mixture of experts the layer
            number.
        total: for the role ATTN_V the number of such tensors, else the number of
            layers.
    """

    facts: ModelFacts
    name: str
    role: Role
    n_cols: int
    is_stacked: bool
    seen: int
    index: int
    total: int


@dataclass(frozen=True)
class When:
    """A condition on a place, and its description in reports."""

    text: str
    holds: Callable[[Place], bool]

    def __and__(self, other: When) -> When:
        """Both conditions."""
        return When(
            f"{self.text}, {other.text}",
            lambda place: self.holds(place) and other.holds(place),
        )


Case = tuple[QuantType, When]


def _in_more_bits(place: Place) -> bool:
    eighth = place.total // 8
    return not MIDDLE.holds(place) or (place.index - eighth) % 3 == 2


def _is_expert(place: Place) -> bool:
    is_named = place.facts.architecture != "bailingmoe3" or place.role in FFN
    return place.is_stacked and is_named


ALWAYS = When("every layer", lambda p: True)
FIRST_2 = When("first 2", lambda p: p.index < 2)
FIRST_4 = When("first 4", lambda p: p.index < 4)
FIRST_16TH = When("first sixteenth of the layers", lambda p: p.index < p.total // 16)
FIRST_8TH = When("first eighth of the layers", lambda p: p.index < p.total // 8)
EIGHTH_BY_COUNT = When("first eighth by count", lambda p: p.seen < p.total // 8)
MIDDLE = When(
    "between the first and last eighth of the layers",
    lambda p: p.total // 8 <= p.index < 7 * p.total // 8,
)
MORE_BITS = When("first and last eighth, and every third layer between", _in_more_bits)
GQA_4 = When("4 or more queries per key", lambda p: p.facts.heads_per_kv >= 4)
EXPERTS_4 = When("4 or more experts", lambda p: p.facts.n_expert >= 4)
EXPERTS_8 = When("8 experts", lambda p: p.facts.n_expert == 8)
FALCON = When("Falcon", lambda p: p.facts.architecture == "falcon")
IMPORTANCE = When("with an importance matrix", lambda p: p.facts.has_importance)
NO_IMPORTANCE = When("no importance matrix", lambda p: not p.facts.has_importance)
STACKED = When("one matrix per expert", _is_expert)
UNTIED = When("not tied to the output head", lambda p: not p.facts.tied)
