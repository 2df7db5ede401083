"""The table of recipes: a base type, and for some roles better types under conditions.

A rule is a tuple of cases; the first case whose condition holds gives the type, and
if none does the base type stays.  Another recipe is another row of `RECIPES`.
Source of every row: llama.cpp's llama-quant.cpp, build 11434 (ggml-org/llama.cpp#19770
sorted tensors into these roles); of the numbers: the `llama_ftype` enumeration.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import UnsupportedTypeError
from ..types import QuantType, suggest
from .facts import ModelFacts

__all__ = ["RECIPES", "Case", "Place", "Recipe", "Role", "When"]

T = QuantType  # short, for the table


class Role(enum.Enum):
    """What a tensor does, as far as the recipes tell tensors apart."""

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

# The first part that a name contains decides.  Weights that hold the values among other
# things count as values; the ffn parts cover routed and shared experts as well.
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


@dataclass(frozen=True)
class Place:
    """Where in its model a tensor stands.

    Attributes:
        facts: the model.
        name: GGUF name.
        role: what the tensor does.
        n_cols: weights in a row.
        index: how many of the same role come before it; in a mixture of experts, for
            feed-forward weights, the layer number.
        total: tensors that hold values, for one of them; layers, for any other.
    """

    facts: ModelFacts
    name: str
    role: Role
    n_cols: int
    index: int
    total: int


@dataclass(frozen=True)
class When:
    """A condition on a place, and the words that a report has for it."""

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
    is_inner = eighth <= place.index < 7 * place.total // 8
    return not is_inner or (place.index - eighth) % 3 == 2


ALWAYS = When("every layer", lambda p: True)
FIRST_2 = When("first 2", lambda p: p.index < 2)
FIRST_4 = When("first 4", lambda p: p.index < 4)
FIRST_16TH = When("first sixteenth of the layers", lambda p: p.index < p.total // 16)
FIRST_8TH = When("first eighth of the layers", lambda p: p.index < p.total // 8)
MORE_BITS = When("outer eighths and every third layer between", _in_more_bits)
GQA_4 = When("4 or more queries a key", lambda p: p.facts.heads_per_kv >= 4)
EXPERTS_8 = When("8 experts", lambda p: p.facts.n_expert == 8)
FALCON = When("Falcon", lambda p: p.facts.architecture == "falcon")
IMPORTANCE = When("with an importance matrix", lambda p: p.facts.has_importance)

_LOW_BITS = frozenset({T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS})


@dataclass(frozen=True)
class Recipe:
    """A base type, and better types for the tensors that suffer most.

    Attributes:
        name: what users call it, such as "Q4_K_M".
        file_type: the number under `general.file_type`.
        base: the type of every tensor that no rule names.
        output: the type of the output head.
        mix: the rule of each role that has one.
        needs_importance: the types that are garbage without an importance matrix.

    Example:
        >>> Recipe.parse("q4_k").name
        'Q4_K_M'
    """

    name: str
    file_type: int
    base: QuantType
    output: QuantType = QuantType.Q6_K
    mix: Mapping[Role, tuple[Case, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    needs_importance: frozenset[QuantType] = field(default=_LOW_BITS, repr=False)

    @classmethod
    def parse(cls, name: str | Recipe) -> Recipe:
        """The recipe called `name`, in any case; Q3_K, Q4_K and Q5_K mean the _M mix.

        Raises:
            UnsupportedTypeError: no such recipe; the message suggests the nearest.
        """
        if isinstance(name, Recipe):
            return name
        upper = name.upper()
        try:
            return RECIPES[_ALIASES.get(upper, upper)]
        except KeyError:
            raise UnsupportedTypeError(
                f"unknown recipe {name!r}{suggest(name, RECIPES)}"
            ) from None


_V, _O, _DOWN = Role.ATTN_V, Role.ATTN_OUTPUT, Role.FFN_DOWN

# Beside eight experts a better attention output costs little.
_EIGHT_O = (T.Q5_K, EXPERTS_8)

_ROWS = (
    Recipe("F32", 0, T.F32),
    Recipe("F16", 1, T.F16),
    Recipe("BF16", 32, T.BF16),
    # Q4_1 and Q5_1 do badly on ffn_down without an importance matrix.
    Recipe("Q4_0", 2, T.Q4_0, mix={_DOWN: ((T.Q4_1, FIRST_8TH & IMPORTANCE),)}),
    Recipe("Q4_1", 3, T.Q4_1),
    Recipe("Q5_0", 8, T.Q5_0, mix={_DOWN: ((T.Q5_1, FIRST_8TH & IMPORTANCE),)}),
    Recipe("Q5_1", 9, T.Q5_1),
    Recipe("Q8_0", 7, T.Q8_0, output=T.Q8_0),
    Recipe(
        "Q2_K",
        10,
        T.Q2_K,
        mix={
            _V: ((T.Q4_K, GQA_4), (T.Q3_K, ALWAYS)),
            _O: ((T.Q2_K, FALCON), _EIGHT_O, (T.Q3_K, ALWAYS)),
            _DOWN: ((T.Q3_K, ALWAYS),),
        },
    ),
    Recipe(
        "Q2_K_S",
        21,
        T.Q2_K,
        mix={_V: ((T.Q4_K, GQA_4),), _DOWN: ((T.Q4_K, FIRST_8TH),)},
        needs_importance=_LOW_BITS | {T.Q2_K},
    ),
    Recipe("Q3_K_S", 11, T.Q3_K, mix={_O: (_EIGHT_O,)}),
    Recipe(
        "Q3_K_M",
        12,
        T.Q3_K,
        mix={
            _V: ((T.Q5_K, FIRST_2), (T.Q4_K, ALWAYS)),
            _O: ((T.Q3_K, FALCON), _EIGHT_O, (T.Q4_K, ALWAYS)),
            _DOWN: (
                (T.Q5_K, FIRST_16TH),
                (T.Q4_K, MORE_BITS),
                (T.Q3_K, FALCON),
                (T.Q4_K, ALWAYS),
            ),
        },
    ),
    Recipe(
        "Q3_K_L",
        13,
        T.Q3_K,
        mix={
            _V: ((T.Q5_K, ALWAYS),),
            _O: ((T.Q4_K, FALCON), (T.Q3_K, EXPERTS_8), (T.Q5_K, ALWAYS)),
            _DOWN: ((T.Q4_K, FALCON), (T.Q5_K, ALWAYS)),
        },
    ),
    Recipe(
        "Q4_K_S",
        14,
        T.Q4_K,
        mix={
            _V: ((T.Q5_K, FIRST_4),),
            _O: (_EIGHT_O,),
            _DOWN: ((T.Q4_K, FALCON), (T.Q5_K, FIRST_8TH)),
        },
    ),
    Recipe(
        "Q4_K_M",
        15,
        T.Q4_K,
        mix={
            _V: ((T.Q6_K, MORE_BITS),),
            _O: (_EIGHT_O,),
            _DOWN: (
                (T.Q6_K, FIRST_16TH),  # for Falcon; MORE_BITS has it elsewhere
                (T.Q5_K, MORE_BITS & FALCON),
                (T.Q6_K, MORE_BITS),
            ),
        },
    ),
    Recipe("Q5_K_S", 16, T.Q5_K),
    Recipe(
        "Q5_K_M",
        17,
        T.Q5_K,
        mix={_V: ((T.Q6_K, MORE_BITS),), _DOWN: ((T.Q6_K, MORE_BITS),)},
    ),
    Recipe("Q6_K", 18, T.Q6_K),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ROWS}

_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
