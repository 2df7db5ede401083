"""The texts that commands measure on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from ..tokens.hub_texts import BUILT_IN_TEXT
from .messages import say

__all__ = ["given_texts"]


def given_texts(texts: Sequence[Path] | None, *, chat: bool, quiet: bool) -> list[Path]:
    """The texts of --text, or the built-in one, which the user is told.

    Raises:
        BadParameter: --chat has no text.
    """
    if texts:
        return list(texts)
    if chat:
        raise typer.BadParameter("--chat needs --text FILE.jsonl")
    if not quiet:
        say(
            "measuring on a built-in text, the opening of a novel; give --text FILE "
            "with text of the kind that the model is used for"
        )
    return [BUILT_IN_TEXT]
