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

from ..errors import OptionError
from ..types import QuantType
from .assign import Assignment, Tensor, assign_types
from .facts import ModelFacts
from .kept import kept_because
from .mixes import Recipe
from .places import Role

__all__ = ["Overrides", "TensorType", "assign_with_overrides"]

PER_LAYER_EMBEDDING = "per_layer_token_embd.weight"

_NO_FACTS = ModelFacts("", 0, 0, 0)


@dataclass(frozen=True)
class TensorType:
    """A type for the tensors whose name a pattern matches.

    Attributes:
        pattern: a regular expression, searched in the GGUF name, case-insensitive.
        type: the type that they get.

    Raises:
        OptionError: the pattern is not a regular expression.
    """

    pattern: str
    type: QuantType

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise OptionError(
                f"{self.pattern!r} is not a regular expression: {error}"
            ) from None

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
        pattern, equals, type = text.rpartition("=")
        if not equals or not pattern:
            raise OptionError(
                f"{text!r} is not REGEX=TYPE, a pattern of tensor names and a type, "
                "such as ffn_down=Q6_K"
            )
        return cls(pattern, QuantType.parse(type))

    def matches(self, name: str) -> bool:
        """Whether the pattern matches in a tensor's name."""
        return re.search(self.pattern, name, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Overrides:
    """The types that a user chooses.

    Attributes:
        tensor_types: types by name pattern; the first match decides.
        pure: use the recipe's base type for all tensors, without its better types.
        output_tensor_type: the type of output.weight; if the token embedding is also
            the output head, its type unless another choice applies to it.
        token_embedding_type: the type of token_embd.weight, and of
            per_layer_token_embd.weight unless a pattern matches that.
        leave_output_tensor: output.weight keeps its type.
        types: the type of every tensor by name, instead of the recipe's.
    """

    tensor_types: tuple[TensorType, ...] = ()
    pure: bool = False
    output_tensor_type: QuantType | None = None
    token_embedding_type: QuantType | None = None
    leave_output_tensor: bool = False
    types: Mapping[str, QuantType] | None = None

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
            return Assignment(present, "kept: --leave-output-tensor")
        chosen = _option(recipe, facts, name, overrides)
        if chosen is not None:
            return _fit(chosen[0], shape, chosen[1])
    if overrides.types is not None:
        return _fit(_listed(overrides.types, name), shape, "type in the other file")
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
        return embedding, "--token-embedding-type"
    if output is not None and role is Role.OUTPUT:
        return output, "--output-tensor-type"
    if pattern is not None:
        return pattern.type, f"--tensor-type {pattern.pattern}"
    if overrides.pure:
        return recipe.base, "--pure"
    if output is not None and role is Role.TOKEN_EMBD and facts.tied:
        return output, "--output-tensor-type"
    return None


def _fit(type: QuantType, shape: tuple[int, ...], reason: str) -> Assignment:
    """A chosen type, or what takes over where the rows are no whole number of blocks.

    That is what a recipe of this one type does with a tensor of no particular role.
    """
    one = Recipe(type.name, 0, type)
    fitted = assign_types(one, _NO_FACTS, [("weight", (2, shape[-1]), type)])["weight"]
    return Assignment(fitted.type, reason, fitted.fallback_from)


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
                f"--tensor-type {choice.pattern}: no tensor's name matches; "
                "`quantkit info --tensors` lists the names"
            )
        if all(kept):
            raise OptionError(
                f"--tensor-type {choice.pattern}: it matches {matched[0][0]}"
                f"{' and others' if len(matched) > 1 else ''}, which are never "
                f"quantized ({kept[0]})"
            )
