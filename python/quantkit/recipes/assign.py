"""Assign a type to every tensor, from a recipe and the model's facts.

In order: small or very sensitive tensors keep their type; the recipe chooses a type by
the tensor's role and layer; if rows are not a whole number of blocks, the tensor falls
back to a type with smaller blocks.
Source of the rules: llama.cpp's llama-quant.cpp, build 11434.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import FormatError, UnsupportedTypeError
from ..gguf.layout import row_length
from ..types import QuantType
from .facts import ModelFacts, layer_number
from .kept import kept_because
from .mixes import Recipe
from .places import FFN, Place, Role

__all__ = [
    "Assignment",
    "assign_types",
    "fitting",
    "importance_fallback",
    "requires_importance",
]

# (GGUF name, shape with the row length last, present type)
Tensor = tuple[str, tuple[int, ...], QuantType]

# Tensors that every recipe quantizes to Q8_0: architecture -> substrings of names.
_Q8_0_PARTS_OF = {"glm5-next": ("attn_q_a", "attn_q_b", "nextn.eh_proj")}

# Types with blocks of this size have no fallback except F16.
_SMALLEST_BLOCK = 32

# The fallback if a row is not a whole number of a type's blocks.
_FALLBACK = {
    QuantType.Q2_0: QuantType.Q4_0,
    QuantType.Q2_K: QuantType.Q4_0,
    QuantType.Q3_K: QuantType.Q4_0,
    QuantType.Q4_K: QuantType.Q5_0,
    QuantType.Q5_K: QuantType.Q5_1,
    QuantType.Q6_K: QuantType.Q8_0,
    QuantType.IQ1_S: QuantType.IQ4_NL,
    QuantType.IQ1_M: QuantType.IQ4_NL,
    QuantType.IQ2_XXS: QuantType.IQ4_NL,
    QuantType.IQ2_XS: QuantType.IQ4_NL,
    QuantType.IQ2_S: QuantType.IQ4_NL,
    QuantType.IQ3_XXS: QuantType.IQ4_NL,
    QuantType.IQ3_S: QuantType.IQ4_NL,
    QuantType.IQ4_XS: QuantType.IQ4_NL,
    QuantType.TQ1_0: QuantType.Q4_0,
    QuantType.TQ2_0: QuantType.Q4_0,
}

# The next larger type that needs no importance, so that the file grows little.  All
# have blocks of 256, so rows that fit still fit.  llama.cpp has no such fallback,
# except that IQ3_XXS files without an importance matrix use IQ3_S for attention values.
_WITHOUT_IMPORTANCE = {
    QuantType.IQ1_S: QuantType.Q2_K,
    QuantType.IQ1_M: QuantType.Q2_K,
    QuantType.IQ2_XXS: QuantType.Q2_K,
    QuantType.IQ2_XS: QuantType.Q2_K,
    QuantType.IQ2_S: QuantType.Q2_K,
    QuantType.IQ3_XXS: QuantType.IQ3_S,
    QuantType.Q2_K: QuantType.Q3_K,
}

# Quantizing to these types is impossible without importance, for every tensor.
_IMPOSSIBLE_WITHOUT_IMPORTANCE = (QuantType.IQ1_S, QuantType.IQ2_XXS, QuantType.IQ2_XS)

_LIFTED_IN_70B = (QuantType.Q3_K, QuantType.Q4_K)


@dataclass(frozen=True)
class Assignment:
    """The type that a tensor gets, and why.

    Attributes:
        type: the type to write.
        reason: a short description of the rule that decided.
        fallback_from: the type that the recipe chose, if the tensor's rows are not a
            whole number of its blocks.
    """

    type: QuantType
    reason: str
    fallback_from: QuantType | None = None


def assign_types(
    recipe: Recipe, facts: ModelFacts, tensors: Sequence[Tensor]
) -> dict[str, Assignment]:
    """The type of every tensor of a model under a recipe.

    Args:
        recipe: the recipe.
        facts: the model's facts.
        tensors: (name, shape, type) of all tensors of the model, in any order; the row
            length comes last in the shape.

    Returns:
        Assignments by name, in the order of `tensors`.

    Raises:
        FormatError: a feed-forward tensor of a mixture of experts has no valid layer
            number in its name.
        UnsupportedTypeError: as for `fitting`.
    """
    assigned: dict[str, Assignment] = {}
    eligible: list[Tensor] = []
    for name, shape, present in tensors:
        kept = kept_because(facts.architecture, name, shape)
        if kept:
            assigned[name] = Assignment(present, kept)
        elif not recipe.base.is_quantized:
            assigned[name] = Assignment(recipe.base, "base type")
        else:
            eligible.append((name, shape, present))
    for place in _places(facts, tensors, eligible):
        chosen, reason = _choose(recipe, place)
        assigned[place.name] = fitting(place.name, chosen, place.n_cols, reason)
    return {name: assigned[name] for name, _, _ in tensors}


def requires_importance(recipe: Recipe, name: str, type: QuantType) -> bool:
    """Whether quantizing a tensor to `type` requires an importance matrix."""
    if type in _IMPOSSIBLE_WITHOUT_IMPORTANCE:
        return True
    if Role.of(name) in (Role.OUTPUT, Role.TOKEN_EMBD):
        return False
    return type in recipe.needs_importance


def importance_fallback(recipe: Recipe, name: str, type: QuantType) -> QuantType:
    """The type that replaces `type` for a tensor without importance.

    Args:
        recipe: the recipe.
        name: GGUF name.
        type: the type that the recipe gives the tensor.

    Returns:
        `type` itself if it does not require importance.

    Example:
        >>> recipe = Recipe.parse("IQ2_XXS")
        >>> importance_fallback(recipe, "blk.0.attn_q.weight", QuantType.IQ2_XXS).name
        'Q2_K'
    """
    while requires_importance(recipe, name, type):
        type = _WITHOUT_IMPORTANCE[type]
    return type


def _places(
    facts: ModelFacts, tensors: Sequence[Tensor], eligible: Sequence[Tensor]
) -> Iterator[Place]:
    """The place of every eligible tensor.

    Tensors of a role are counted in the order of (layer, name).  For feed-forward
    tensors of a mixture of experts the layer number replaces the count, because a layer
    may have routed and shared experts.
    """
    n_values = sum(Role.of(name) is Role.ATTN_V for name, _, _ in tensors)
    seen: Counter[Role] = Counter()
    for name, shape, _ in sorted(eligible, key=lambda t: (layer_number(t[0]), t[0])):
        role = Role.of(name)
        index = seen[role]
        is_stacked = len(shape) > 2 and shape[-3] > 1
        if role in FFN and facts.n_expert > 1:
            index = _expert_layer(name, facts.n_layers)
        total = n_values if role is Role.ATTN_V else facts.n_layers
        yield Place(
            facts, name, role, row_length(shape), is_stacked, seen[role], index, total
        )
        seen[role] += 1


def _expert_layer(name: str, n_layers: int) -> int:
    layer = layer_number(name)
    if not 0 <= layer < n_layers:
        raise FormatError(
            f"tensor {name!r}: in a mixture of experts with {n_layers} layers the name "
            f"must begin with blk.0. to blk.{n_layers - 1}.; check block_count"
        )
    return layer


def _choose(recipe: Recipe, place: Place) -> tuple[QuantType, str]:
    """The type that a recipe chooses for a place, ignoring the row length."""
    facts, role = place.facts, place.role
    if any(part in place.name for part in _Q8_0_PARTS_OF.get(facts.architecture, ())):
        return QuantType.Q8_0, f"never below Q8_0 in {facts.architecture}"
    if role is Role.OUTPUT or (role is Role.TOKEN_EMBD and facts.tied):
        return _choose_output(recipe, place), Role.OUTPUT.value
    type, reason = recipe.base, "base type"
    for better, when in recipe.mix.get(role, ()):
        if when.holds(place):
            type, reason = better, f"{role.value}: {when.text}"
            break
    return _lift(type, reason, place) if recipe.lifts else (type, reason)


def _choose_output(recipe: Recipe, place: Place) -> QuantType:
    is_odd = place.n_cols % recipe.base.block_size != 0
    if is_odd or place.facts.architecture == "falcon":
        return QuantType.Q8_0
    return recipe.output


def _lift(type: QuantType, reason: str, place: Place) -> tuple[QuantType, str]:
    """Apply the extra improvements of most mixes for 8 experts and 70B models."""
    role, facts = place.role, place.facts
    if role in (Role.ATTN_V, Role.ATTN_K) and facts.n_expert == 8:
        return QuantType.Q8_0, f"{role.value}: small compared to 8 experts"
    if role is Role.ATTN_V and facts.is_70b and type in _LIFTED_IN_70B:
        return QuantType.Q5_K, f"{role.value}: small in a 70B model"
    return type, reason


def fitting(name: str, chosen: QuantType, n_cols: int, reason: str) -> Assignment:
    """A chosen type, or its fallback if rows are not a whole number of its blocks.

    Args:
        name: the tensor's name.
        chosen: the type.
        n_cols: weights per row.
        reason: the rule that chose it.

    Raises:
        UnsupportedTypeError: the type has no fallback (nor in llama.cpp).
    """
    if n_cols % chosen.block_size == 0:
        return Assignment(chosen, reason)
    if chosen not in _FALLBACK and chosen.block_size > _SMALLEST_BLOCK:
        raise UnsupportedTypeError(
            f"tensor {name!r} has rows of {n_cols} weights, not a multiple of "
            f"{chosen.name}'s block of {chosen.block_size}, and there is no fallback "
            "type; choose another type for such tensors (`tensor_types`), or another "
            "recipe"
        )
    smaller = _FALLBACK.get(chosen, chosen)
    fits = n_cols % smaller.block_size == 0
    return Assignment(smaller if fits else QuantType.F16, reason, fallback_from=chosen)
