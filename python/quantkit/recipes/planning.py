"""Plan the type of every tensor of a model, and refuse plans with bad results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum

from .._native import native_types
from ..errors import OptionError, UnsupportedTypeError
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..types import QuantType
from . import (
    Assignment,
    ModelFacts,
    Recipe,
    importance_fallback,
    requires_importance,
)
from .overrides import Overrides, assign_with_overrides

__all__ = ["MissingImportance", "plan"]

N_NAMED = 3
"""Tensors that a message names; the others are only counted."""


class MissingImportance(str, Enum):
    """What to do with tensors that lack the importance that their type requires.

    Attributes:
        REFUSE: raise an error, before any work.
        FALLBACK: use the next larger type that does not require importance.
    """

    REFUSE = "refuse"
    FALLBACK = "fallback"

    @classmethod
    def parse(cls, text: str) -> MissingImportance:
        """Parse "refuse" or "fallback".

        Raises:
            OptionError: the text is neither.
        """
        try:
            return cls(text.lower() if isinstance(text, str) else text)
        except ValueError:
            raise OptionError(
                f"`missing_importance` is {text!r}; expected refuse or fallback"
            ) from None


def plan(
    source: ModelSource,
    recipe: Recipe,
    importance: Importance | None = None,
    *,
    overrides: Overrides | None = None,
    allow_requantize: bool = False,
    missing_importance: MissingImportance = MissingImportance.REFUSE,
) -> dict[str, Assignment]:
    """The type of every tensor under a recipe.

    Raises:
        UnsupportedTypeError: a tensor is already quantized and `allow_requantize` is
            not set; lacks the importance that its type requires; or would get a type
            that quantkit cannot quantize to.
        OptionError: the overrides do not match the model, or none of the importance
            is of a tensor of it.
    """
    if importance:
        _refuse_of_another_model(importance, source)
    facts = ModelFacts.of(
        source.metadata, source.tensors, has_importance=importance is not None
    )
    present = [(t.name, t.shape, t.type) for t in source.tensors.values()]
    assigned = assign_with_overrides(recipe, facts, present, overrides or Overrides())
    changed = {
        name: (type, assigned[name])
        for name, _, type in present
        if assigned[name].type is not type
    }
    if not allow_requantize:
        _refuse_quantized(changed)
    lacking = {
        name: assignment
        for name, (_, assignment) in changed.items()
        if name not in (importance or {})
        and requires_importance(recipe, name, assignment.type)
    }
    if lacking and missing_importance is MissingImportance.REFUSE:
        _refuse_without_importance(recipe, lacking, is_any=importance is not None)
    assigned |= {
        name: _without_importance(recipe, name, assignment)
        for name, assignment in lacking.items()
    }
    _refuse_unknown({name: (old, assigned[name]) for name, (old, _) in changed.items()})
    return assigned


# Tensor name -> its present type and its assignment.
Changes = Mapping[str, tuple[QuantType, Assignment]]


def _refuse_of_another_model(importance: Importance, source: ModelSource) -> None:
    if importance.keys().isdisjoint(source.tensors):
        named, own = next(iter(importance)), next(iter(source.tensors), "none")
        raise OptionError(
            f"`importance` is of no tensor of this model: it has {named!r}, and the "
            f"model has {own!r}; it may belong to another model"
        )


def _refuse_quantized(changed: Changes) -> None:
    for name, (old, new) in changed.items():
        if old.is_quantized:
            raise UnsupportedTypeError(
                f"tensor {name} is already {old.name}, and quantizing it again to "
                f"{new.type.name} loses more than either; start from the F16, BF16 or "
                "F32 model, or allow it: "
                "`quantize_file(allow_requantize=True)`"
            )


def _refuse_unknown(changed: Changes) -> None:
    for name, (old, new) in changed.items():
        for type in (old, new.type):
            if type not in native_types():
                raise UnsupportedTypeError(
                    f"tensor {name} would be converted from {old.name} to "
                    f"{new.type.name}, but quantkit cannot read or write {type.name}; "
                    "keep its type, or choose another type (`tensor_types`)"
                )


def _refuse_without_importance(
    recipe: Recipe, lacking: Mapping[str, Assignment], *, is_any: bool
) -> None:
    """Raise an error that names the tensors without importance and all remedies."""
    named = [f"{name} ({a.type.name})" for name, a in lacking.items()]
    more = f" and {len(named) - N_NAMED} more" if len(named) > N_NAMED else ""
    which = ", ".join(named[:N_NAMED]) + more
    if is_any:
        text = (
            f"the importance matrix has no entry for {which}, and these types require "
            "importance; collect it again on a longer text (quantkit imatrix)"
        )
    else:
        text = (
            f"{recipe.name} uses {which}, and these types require an importance "
            "matrix; collect one (quantkit imatrix) and pass it (`importance`), choose "
            "another recipe"
        )
    raise UnsupportedTypeError(
        f"{text}, or use the next larger type for these tensors "
        '(`quantize_file(missing_importance="fallback")`)'
    )


def _without_importance(
    recipe: Recipe, name: str, assignment: Assignment
) -> Assignment:
    return replace(
        assignment,
        type=importance_fallback(recipe, name, assignment.type),
        reason=f"{assignment.reason}; no importance",
        fallback_from=assignment.fallback_from or assignment.type,
    )
