"""How a report names models."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["model_names"]


def model_names(model: str) -> str:
    """The names of models without their folders, which tell nothing to others."""
    return ", ".join(PurePath(each).name or each for each in model.split(", "))
