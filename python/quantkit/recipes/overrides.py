"""Types that a user chooses for some tensors, instead of the recipe's.

In order of precedence: tensors that recipes never quantize keep their type; the type of
the token embedding; of the output head; the first pattern that matches the name; one
type for all (`pure`); the recipe, or the types of another file.  If rows are not a
whole number of blocks, the tensor falls back in every case.
Source of the order: llama.cpp's llama-quant.cpp, build 11434.  llama-quantize silently
ignores some choices; here a pattern that matches no tensor is an error, and choices
also apply to F16, BF16 and F32 recipes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..display import Displayed
from ..errors import OptionError
from ..gguf.layout import row_length
from ..parameters import check_flags
from ..paths import listed
from ..patterns import compiled, searched
from ..types import QuantType
from .assign import Assignment, Tensor, assign_types, fitting
from .facts import ModelFacts
from .kept import kept_because
from .mixes import Recipe
from .places import Role

__all__ = ["Overrides", "TensorType", "assign_with_overrides"]

PER_LAYER_EMBEDDING = "per_layer_token_embd.weight"

EMBEDDING, OUTPUT = "type of the token embedding", "type of the output head"
"""Reasons in reports for the types of these tensors."""


@dataclass(frozen=True)
class TensorType(Displayed):
    """A type for the tensors whose name a pattern matches.

    Attributes:
        pattern: a regular expression, searched in the GGUF name, case-insensitive.
        type: the type that they get, or its name.

    Raises:
        OptionError: the pattern is not a regular expression.
        UnsupportedTypeError: the type is unknown.
    """

    pattern: str
    type: QuantType

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", QuantType.parse(self.type))
        compiled(self.pattern, re.IGNORECASE)

    @classmethod
    def parse(cls, text: str) -> TensorType:
        """Parse "REGEX=TYPE".

        Raises:
            OptionError: there is no "=", or the pattern is not a regular expression.
            UnsupportedTypeError: the type is unknown.

        Example:
            >>> TensorType.parse("ffn_down=q6_k").type.name
            'Q6_K'
        """
        pattern, equals, type = str(text).rpartition("=")
        if not equals or not pattern:
            raise OptionError(
                f"{text!r} is not REGEX=TYPE, a pattern of tensor names and a type, "
                "such as ffn_down=Q6_K"
            )
        return cls(pattern, QuantType.parse(type))

    def matches(self, name: str) -> bool:
        """Whether the pattern matches in a tensor's name.

        Raises:
            OptionError: there may be too many ways to match; see `patterns`.
        """
        return searched(compiled(self.pattern, re.IGNORECASE), name) is not None


@dataclass(frozen=True)
class Overrides(Displayed):
    """The types that a user chooses.

    Types may be given by name, and `tensor_types` as "REGEX=TYPE".

    Attributes:
        tensor_types: types by name pattern; the first match decides.
        pure: use the recipe's base type for all tensors, without its better types.
        output_tensor_type: the type of output.weight; if the token embedding is also
            the output head, its type unless another choice applies to it.
        token_embedding_type: the type of token_embd.weight, and of
            per_layer_token_embd.weight unless a pattern matches that.
        leave_output_tensor: keep the type of output.weight.
        types: the type of every tensor by name, instead of the recipe's.

    Raises:
        OptionError: a pattern is not a regular expression, or there is no pattern.
        UnsupportedTypeError: a type is unknown.

    Example:
        >>> Overrides(["ffn_down=Q6_K"], output_tensor_type="Q8_0").tensor_types[0].type
        <QuantType.Q6_K: (14, 256, 210)>
    """

    tensor_types: tuple[TensorType, ...] = ()
    pure: bool = False
    output_tensor_type: QuantType | None = None
    token_embedding_type: QuantType | None = None
    leave_output_tensor: bool = False
    types: Mapping[str, QuantType] | None = None

    def __post_init__(self) -> None:
        check_flags(pure=self.pure, leave_output_tensor=self.leave_output_tensor)
        patterns = (
            each if isinstance(each, TensorType) else TensorType.parse(each)
            for each in listed(self.tensor_types)
        )
        object.__setattr__(self, "tensor_types", tuple(patterns))
        for name in ("output_tensor_type", "token_embedding_type"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, QuantType.parse(given))

    def over(self, other: Overrides) -> Overrides:
        """These choices, completed by those of `other`."""
        return Overrides(
            self.tensor_types + other.tensor_types,
            self.pure or other.pure,
            self.output_tensor_type or other.output_tensor_type,
            self.token_embedding_type or other.token_embedding_type,
            self.leave_output_tensor or other.leave_output_tensor,
            other.types if self.types is None else self.types,
        )


def assign_with_overrides(
    recipe: Recipe,
    facts: ModelFacts,
    tensors: Sequence[Tensor],
    overrides: Overrides,
) -> dict[str, Assignment]:
    """The type of every tensor of a model: `assign_types` with a user's choices.

    Raises:
        FormatError: as `assign_types`.
        OptionError: a pattern matches no tensor that could be quantized, or `types`
            lacks a tensor.
    """
    decided: dict[str, Assignment] = {}
    for tensor in tensors:
        choice = _choice(recipe, facts, tensor, overrides)
        if choice is not None:
            decided[tensor[0]] = choice
    _refuse_idle_patterns(facts, tensors, overrides)
    # Like llama-quantize, the rules skip tensors that the user decided when they count
    # a role, but include them in the total number of value tensors.  Passing such
    # tensors as vectors has this effect.
    rest = [
        (name, shape[-1:] if name in decided else shape, present)
        for name, shape, present in tensors
    ]
    return {**assign_types(recipe, facts, rest), **decided}


def _choice(
    recipe: Recipe, facts: ModelFacts, tensor: Tensor, overrides: Overrides
) -> Assignment | None:
    """The user's choice for a tensor, or None."""
    name, shape, present = tensor
    if kept_because(facts.architecture, name, shape) is None:
        if overrides.leave_output_tensor and name == "output.weight":
            return Assignment(present, "kept: leave_output_tensor")
        chosen = _option(recipe, facts, name, overrides)
        if chosen is not None:
            return fitting(name, chosen[0], row_length(shape), chosen[1])
    if overrides.types is not None:
        listed = _listed(overrides.types, name)
        return fitting(name, listed, row_length(shape), "type in the other file")
    return None


def _option(
    recipe: Recipe, facts: ModelFacts, name: str, overrides: Overrides
) -> tuple[QuantType, str] | None:
    """The type that an option chooses for a tensor, and the option's name."""
    role = Role.of(name)
    embedding, output = overrides.token_embedding_type, overrides.output_tensor_type
    pattern = next((t for t in overrides.tensor_types if t.matches(name)), None)
    is_named = name == PER_LAYER_EMBEDDING and pattern is not None
    if embedding is not None and role is Role.TOKEN_EMBD and not is_named:
        return embedding, EMBEDDING
    if output is not None and role is Role.OUTPUT:
        return output, OUTPUT
    if pattern is not None:
        return pattern.type, f"pattern {pattern.pattern}"
    if overrides.pure:
        return recipe.base, "pure"
    if output is not None and role is Role.TOKEN_EMBD and facts.tied:
        return output, OUTPUT
    return None


def _listed(types: Mapping[str, QuantType], name: str) -> QuantType:
    if name not in types:
        raise OptionError(
            f"the file whose types are used has no tensor {name}; it must be a "
            "quantization of the same model"
        )
    return types[name]


def _refuse_idle_patterns(
    facts: ModelFacts, tensors: Sequence[Tensor], overrides: Overrides
) -> None:
    for choice in overrides.tensor_types:
        matched = [t for t in tensors if choice.matches(t[0])]
        kept = [kept_because(facts.architecture, n, shape) for n, shape, _ in matched]
        if not matched:
            raise OptionError(
                f'`tensor_types="{choice.pattern}"` matches no tensor name; '
                "quantkit info lists the names"
            )
        if all(kept):
            raise OptionError(
                f'`tensor_types="{choice.pattern}"` matches only tensors that are '
                f"never quantized, such as {matched[0][0]} ({kept[0]})"
            )
