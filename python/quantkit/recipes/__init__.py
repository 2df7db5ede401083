"""Recipes: which GGUF type each tensor of a model gets.

A recipe is what llama.cpp calls a file type: a base type, and better types for the most
sensitive tensors.  `assign_types` gives the same types as llama-quantize (build 11434).
`facts` has the model properties that the rules use, `mixes` the table of recipes, and
`assign` the rules.
"""

from __future__ import annotations

from .assign import (
    Assignment,
    assign_types,
    importance_fallback,
    requires_importance,
)
from .facts import ModelFacts
from .mixes import RECIPES, Recipe

__all__ = [
    "RECIPES",
    "Assignment",
    "ModelFacts",
    "Recipe",
    "assign_types",
    "importance_fallback",
    "requires_importance",
]
