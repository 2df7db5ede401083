"""Recipes: which GGUF type each tensor of a model gets.

A recipe is what llama.cpp calls a file type: a base type, and a mix of better types for
the tensors that suffer most.  `assign_types` gives the types that llama-quantize of
build 11434 gives.  `facts` holds what the rules ask of a model, `mixes` the table of
recipes, `assign` how a tensor's type follows from them.
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
