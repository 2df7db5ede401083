"""The model that a draft model drafts for: its config, and where its vocabulary is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.folder import read_config
from ..checkpoint.hub import resolve
from ..errors import CheckpointError, OptionError
from ..models.config_checks import checked_config
from ..models.family import Family

__all__ = ["Target", "read_target"]


@dataclass(frozen=True)
class Target:
    """A checkpoint folder, of which config.json and the tokenizer's files are read.

    Attributes:
        folder: its path.
        config: config.json, with the keys of a nested `text_config` at the top level.
    """

    folder: Path
    config: dict[str, Any]


def read_target(folder: Path | None, family: Family) -> Target | None:
    """The model that models of a family draft for; None: they do not draft.

    Args:
        folder: its folder, or a Hub model; None: not given.
        family: the draft model's family.

    Raises:
        CheckpointError: the folder is not given, or has no config.json.
        FormatError: config.json is damaged.
        OptionError: the folder is given, and the family does not draft.
    """
    if folder is None:
        if not family.drafts:
            return None
        raise CheckpointError(
            f"{family.name} models draft tokens for another model, and have its "
            "vocabulary; give its folder: `convert(target_model=FOLDER)`"
        )
    if not family.drafts:
        raise OptionError(
            f"`target_model` has no effect: {family.name} models do not draft tokens "
            "for another model"
        )
    path = resolve(folder)
    config = read_config(path)
    if config is None:
        raise CheckpointError(
            f"{path} has no config.json; expected the folder of the model that the "
            "draft model drafts for"
        )
    return Target(path, checked_config(config))
