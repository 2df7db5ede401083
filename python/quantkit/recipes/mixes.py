"""The table of recipes: a base type, and for some roles better types under conditions.

A rule is a tuple of cases.  The first case whose condition holds gives the type; if
none does, it is the base type.  To add a recipe, add a row to the table.
Source of every row: llama.cpp's llama-quant.cpp, build 11434.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..display import Displayed
from ..errors import UnsupportedTypeError
from ..gguf.keys import FileType
from ..suggestions import suggest
from ..types import QuantType
from .places import (
    ALWAYS,
    EIGHTH_BY_COUNT,
    EXPERTS_4,
    EXPERTS_8,
    FALCON,
    FIRST_2,
    FIRST_4,
    FIRST_8TH,
    FIRST_16TH,
    GQA_4,
    IMPORTANCE,
    MIDDLE,
    MORE_BITS,
    NO_IMPORTANCE,
    STACKED,
    UNTIED,
    Case,
    Role,
)

__all__ = ["RECIPES", "Recipe", "RecipeLike"]

T = QuantType  # short, for the table

_LOW_BITS = frozenset({T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS})


@dataclass(frozen=True)
class Recipe(Displayed):
    """A base type, and better types for the most sensitive tensors.

    Attributes:
        name: the recipe's name, such as "Q4_K_M".
        base: the type of every tensor without a rule.
        output: the type of the output head.
        mix: rules by role.
        lifts: attention gets better types with 8 experts and in 70B models.
        needs_importance: the types that require an importance matrix.

    Example:
        >>> Recipe.parse("q4_k").name
        'Q4_K_M'
    """

    name: str
    base: QuantType
    output: QuantType = QuantType.Q6_K
    mix: Mapping[Role, tuple[Case, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    lifts: bool = True
    needs_importance: frozenset[QuantType] = field(default=_LOW_BITS, repr=False)

    @property
    def file_type(self) -> FileType:
        """The value of `general.file_type`."""
        return FileType[self.name]

    @classmethod
    def parse(cls, name: RecipeLike) -> Recipe:
        """The recipe `name`, case-insensitive; Q3_K, Q4_K and Q5_K mean the _M mix.

        Raises:
            UnsupportedTypeError: there is no such recipe; the message suggests some.
        """
        if isinstance(name, Recipe):
            return name
        if isinstance(name, QuantType):
            name = name.name
        if not isinstance(name, str):
            raise UnsupportedTypeError(
                f"{name!r} is not a recipe; expected a name such as 'Q4_K_M', or a "
                "Recipe"
            )
        upper = name.upper()
        try:
            return RECIPES[_ALIASES.get(upper, upper)]
        except KeyError:
            if upper in QuantType.__members__:
                raise UnsupportedTypeError(
                    f"there is no recipe {upper}; choose this type for single tensors "
                    "(`tensor_types`)"
                ) from None
            raise UnsupportedTypeError(
                f"unknown recipe {name!r}{suggest(name, RECIPES)}"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name, because all recipes are in `RECIPES`."""
        return Recipe.parse, (self.name,)


RecipeLike: TypeAlias = str | Recipe | QuantType
"""A recipe, its name in any case, or a type that has one."""

_V, _O, _DOWN = Role.ATTN_V, Role.ATTN_OUTPUT, Role.FFN_DOWN

# With eight experts a better attention output costs little.
_EIGHT_O = (T.Q5_K, EXPERTS_8)

Mix = Mapping[Role, tuple[Case, ...]]


def _low_bits_mix(embedding: QuantType, better: QuantType, output: QuantType) -> Mix:
    """The common rules of all mixes with about 1 or 2 bits.

    `better` is for values and the first ffn_down, `output` for attention output.
    """
    return {
        Role.TOKEN_EMBD: ((embedding, UNTIED),),
        _V: ((T.Q4_K, GQA_4), (T.Q4_K, EXPERTS_4), (better, ALWAYS)),
        Role.ATTN_K: ((T.Q4_K, EXPERTS_8),),
        _O: (_EIGHT_O, (output, ALWAYS)),
        _DOWN: ((better, EIGHTH_BY_COUNT),),
    }


_MIX_IQ1 = _low_bits_mix(T.Q2_K, T.Q2_K, output=T.IQ2_XXS)
_MIX_IQ2_S = _low_bits_mix(T.IQ3_S, T.IQ3_S, output=T.IQ3_S)
_MIX_IQ4: Mix = {
    _V: ((T.Q5_K, GQA_4),),
    _O: (_EIGHT_O,),
    _DOWN: ((T.Q5_K, FIRST_8TH & NO_IMPORTANCE),),
}
_MIX_TERNARY: Mix = {Role.TOKEN_EMBD: ((T.Q4_K, UNTIED),)}

_ROWS = (
    Recipe("F32", T.F32),
    Recipe("F16", T.F16),
    Recipe("BF16", T.BF16),
    # Q4_1 and Q5_1 do badly on ffn_down without an importance matrix.
    Recipe("Q4_0", T.Q4_0, mix={_DOWN: ((T.Q4_1, FIRST_8TH & IMPORTANCE),)}),
    Recipe("Q4_1", T.Q4_1),
    Recipe("Q5_0", T.Q5_0, mix={_DOWN: ((T.Q5_1, FIRST_8TH & IMPORTANCE),)}),
    Recipe("Q5_1", T.Q5_1),
    Recipe("Q8_0", T.Q8_0, output=T.Q8_0),
    Recipe(
        "Q2_K",
        T.Q2_K,
        mix={
            _V: ((T.Q4_K, GQA_4), (T.Q3_K, ALWAYS)),
            _O: ((T.Q2_K, FALCON), _EIGHT_O, (T.Q3_K, ALWAYS)),
            _DOWN: ((T.Q3_K, ALWAYS),),
        },
    ),
    Recipe(
        "Q2_K_S",
        T.Q2_K,
        mix={_V: ((T.Q4_K, GQA_4),), _DOWN: ((T.Q4_K, FIRST_8TH),)},
        needs_importance=_LOW_BITS | {T.Q2_K},
    ),
    Recipe("Q3_K_S", T.Q3_K, mix={_O: (_EIGHT_O,)}),
    Recipe(
        "Q3_K_M",
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
        T.Q3_K,
        mix={
            _V: ((T.Q5_K, ALWAYS),),
            _O: ((T.Q4_K, FALCON), (T.Q3_K, EXPERTS_8), (T.Q5_K, ALWAYS)),
            _DOWN: ((T.Q4_K, FALCON), (T.Q5_K, ALWAYS)),
        },
    ),
    Recipe(
        "Q4_K_S",
        T.Q4_K,
        mix={
            _V: ((T.Q5_K, FIRST_4),),
            _O: (_EIGHT_O,),
            _DOWN: ((T.Q4_K, FALCON), (T.Q5_K, FIRST_8TH)),
        },
    ),
    Recipe(
        "Q4_K_M",
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
    Recipe("Q5_K_S", T.Q5_K),
    Recipe(
        "Q5_K_M",
        T.Q5_K,
        mix={_V: ((T.Q6_K, MORE_BITS),), _DOWN: ((T.Q6_K, MORE_BITS),)},
    ),
    Recipe("Q6_K", T.Q6_K),
    Recipe("IQ1_S", T.IQ1_S, output=T.Q5_K, mix=_MIX_IQ1, lifts=False),
    Recipe("IQ1_M", T.IQ1_M, output=T.Q5_K, mix=_MIX_IQ1, lifts=False),
    Recipe(
        "IQ2_XXS",
        T.IQ2_XXS,
        output=T.Q5_K,
        mix=_low_bits_mix(T.Q2_K, T.Q2_K, output=T.IQ2_XXS),
        lifts=False,
    ),
    Recipe(
        "IQ2_XS",
        T.IQ2_XS,
        output=T.Q5_K,
        mix=_low_bits_mix(T.Q2_K, T.Q2_K, output=T.IQ2_XS),
        lifts=False,
    ),
    Recipe("IQ2_S", T.IQ2_XS, output=T.Q5_K, mix=_MIX_IQ2_S, lifts=False),
    Recipe("IQ2_M", T.IQ2_S, output=T.Q5_K, mix=_MIX_IQ2_S, lifts=False),
    Recipe(
        "IQ3_XXS",
        T.IQ3_XXS,
        output=T.Q5_K,
        mix={
            Role.TOKEN_EMBD: ((T.IQ3_S, UNTIED),),
            _V: ((T.Q4_K, GQA_4), (T.IQ3_S, NO_IMPORTANCE)),
            Role.ATTN_K: ((T.IQ2_S, ALWAYS),),
            Role.ATTN_Q: ((T.IQ2_S, ALWAYS),),
            _O: ((T.IQ3_XXS, FALCON), _EIGHT_O, (T.IQ3_S, ALWAYS)),
            _DOWN: ((T.Q4_K, FIRST_8TH & NO_IMPORTANCE), (T.Q3_K, NO_IMPORTANCE)),
        },
    ),
    Recipe(
        "IQ3_XS",
        T.IQ3_S,
        mix={
            _V: ((T.Q4_K, GQA_4),),
            Role.ATTN_K: ((T.IQ3_XXS, ALWAYS),),
            Role.ATTN_Q: ((T.IQ3_XXS, ALWAYS),),
            _O: (_EIGHT_O,),
            Role.FFN_GATE: ((T.IQ3_XXS, MIDDLE),),
            Role.FFN_UP: ((T.IQ3_XXS, MIDDLE),),
        },
    ),
    Recipe("IQ3_S", T.IQ3_S, mix={_V: ((T.Q4_K, GQA_4),), _O: (_EIGHT_O,)}),
    Recipe(
        "IQ3_M",
        T.IQ3_S,
        mix={
            _V: ((T.Q4_K, ALWAYS),),
            _O: ((T.IQ3_S, FALCON), _EIGHT_O, (T.Q4_K, ALWAYS)),
            _DOWN: ((T.Q4_K, FIRST_8TH), (T.Q4_K, EXPERTS_8 & MORE_BITS)),
        },
    ),
    Recipe("IQ4_NL", T.IQ4_NL, mix=_MIX_IQ4),
    Recipe("IQ4_XS", T.IQ4_XS, mix=_MIX_IQ4),
    Recipe("TQ1_0", T.TQ1_0, mix=_MIX_TERNARY),
    Recipe("TQ2_0", T.TQ2_0, mix=_MIX_TERNARY),
    Recipe("Q1_0", T.Q1_0),
    Recipe("Q2_0", T.Q2_0, mix=_MIX_TERNARY),
    Recipe(
        "MXFP4_MOE",
        T.MXFP4,
        output=T.Q8_0,
        mix=dict.fromkeys(Role, ((T.MXFP4, STACKED), (T.Q8_0, ALWAYS))),
        lifts=False,
    ),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ROWS}

_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
