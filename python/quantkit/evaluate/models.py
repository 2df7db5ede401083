"""The models of a comparison, as they are given, and their common vocabulary."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import OptionError, QuantkitError
from ..gguf.source import ModelSource
from ..paths import as_path, listed
from ..sources.opening import ModelLike
from ..tokens.texts import name_of
from .entries import Entry

__all__ = ["cut_alike", "models_of", "name_of_models"]

Cut = TypeVar("Cut")


def models_of(
    model: ModelLike | Sequence[ModelLike],
) -> list[str | Path | ModelSource]:
    """One or several models as a list, with path objects converted to a Path.

    Raises:
        OptionError: there is none.
    """
    models = [
        as_path(each, "model") if isinstance(each, os.PathLike) else each
        for each in listed(model)
    ]
    if not models:
        raise OptionError("`model` is empty; expected a model, or several")
    return models


def name_of_models(models: Sequence[str | Path | ModelSource]) -> str:
    """The names of the models, as they were given."""
    return ", ".join(str(m) if isinstance(m, str | Path) else "model" for m in models)


def cut_alike(
    entries: Sequence[Entry],
    text: str | Path,
    cut: Callable[[ModelSource], Cut],
    is_same: Callable[[Cut, Cut], bool],
) -> Cut:
    """A text cut into sequences of tokens, the same for all models.

    Args:
        entries: the models, and their types, which are not asked.
        text: the text, for messages.
        cut: cuts the text by the vocabulary of a model.
        is_same: whether two have the same tokens.

    Raises:
        QuantkitError: two models tokenize the text differently.
    """
    first, *others = [entry for entry in entries if entry.wanted is None]
    found = cut(first.source)
    for entry in others:
        if not is_same(found, cut(entry.source)):
            raise QuantkitError(
                f"{entry.name} and {first.name} tokenize {name_of(text)} differently; "
                "only models with the same vocabulary can be compared; measure others "
                "one by one"
            )
    return found
