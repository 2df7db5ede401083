"""The model families quantkit knows.  To add one: write its module, list it here."""

from __future__ import annotations

from ..errors import UnsupportedModelError
from .base import Config, Family
from .llama import LLAMA
from .qwen import QWEN2, QWEN3

__all__ = ["FAMILIES", "family_for_config", "family_named"]

FAMILIES: tuple[Family, ...] = (LLAMA, QWEN2, QWEN3)


def family_for_config(config: Config) -> Family:
    """The family of a Hugging Face config, by its `architectures`.

    Raises:
        UnsupportedModelError: none of the families has that class.
    """
    classes = config.get("architectures") or ()
    for family in FAMILIES:
        if any(name in family.hf_classes for name in classes):
            return family
    known = ", ".join(name for family in FAMILIES for name in family.hf_classes)
    raise UnsupportedModelError(
        f"config.json names the architecture {', '.join(classes) or '(none)'}; "
        f"known: {known}"
    )


def family_named(arch: str) -> Family:
    """The family whose `general.architecture` is `arch`.

    Raises:
        UnsupportedModelError: no family has that name.
    """
    for family in FAMILIES:
        if family.name == arch:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UnsupportedModelError(
        f"the model's architecture is {arch!r}; quantkit can run: {known}"
    )
