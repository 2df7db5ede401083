"""Find the family of a model; each is imported when it is first asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field
from ..settings import MAX_COUNT, shown
from ..suggestions import suggest
from .config_checks import check_sizes, checked_config
from .config_keys import KINDS
from .config_relations import OUTER, check_nested, check_relations, check_synonyms
from .family import Family
from .listing import LISTING, Listed
from .llamacpp_classes import REFUSED, architecture_of

__all__ = [
    "all_families",
    "family_for_class",
    "family_for_config",
    "family_named",
    "gives_embeddings",
    "settled",
]

ENCODERS = frozenset(each.name for each in LISTING if not each.predicts_text)
"""Architectures of models that give embeddings and predict no text."""
DECODERS = frozenset(each.name for each in LISTING if each.predicts_text)
"""Architectures of models that predict text; some are also among the encoders."""
CAUSAL = "attention.causal"

BY_CLASS = {name: each for each in LISTING for name in each.hf_classes}


def _type_of(name: str) -> str:
    """A class or a `model_type` in a form that is the same for both."""
    stem = re.sub("(For[A-Z]|LMHead|Model).*|_text$", "", name)
    return stem.replace("_", "").lower()


BY_TYPE = {_type_of(name): each for name, each in BY_CLASS.items()}
TEXT_CLASSES = {
    _type_of(name): name for name in BY_CLASS if name.endswith("ForCausalLM")
}
"""`model_type` in the form of `_type_of` -> the class of a text model."""


@cache
def _family(listed: Listed) -> Family:
    """The family of an entry."""
    module = import_module(f".{listed.module}", __package__)
    family: Family = getattr(module, listed.cls)()
    return family


def all_families() -> tuple[Family, ...]:
    """All families, which takes a tenth of a second or two."""
    return tuple(map(_family, LISTING))


def family_for_class(hf_class: str) -> Family | None:
    """The family of a class, whatever the config; None: there is none."""
    listed = BY_CLASS.get(hf_class)
    return None if listed is None else _family(listed)


def family_for_config(config: Config) -> Family:
    """The family of a Hugging Face config, by its `architectures`.

    Raises:
        CheckpointError: its `model_type`, by which transformers chooses the class, is
            of another family.
        UnsupportedModelError: no family has that class.
    """
    classes = _with_text_class(config).get("architectures") or ()
    kind = str(config.get("model_type") or "")
    for name in classes:
        if name in BY_CLASS:
            family = _of_class(name, kind, config)
            if kind in family.model_types:
                return family
            of_kind = BY_TYPE.get(_type_of(kind))
            if family.drafts or of_kind is None or name in of_kind.hf_classes:
                return family
            if of_kind.name != family.name:
                raise CheckpointError(
                    f"config.json names the architecture {name!r}, but its model_type "
                    f"is {shown(kind)}, by which transformers would load another "
                    "model; correct the one that is wrong"
                )
            return family
    raise _unknown_class(", ".join(map(str, classes)) or "(none)")


def _of_class(name: str, kind: str, config: Config) -> Family:
    """The family of a class; if it has several, by the model type or the config."""
    families = [_family(each) for each in LISTING if name in each.hf_classes]
    of_kind = (family for family in families if kind in family.model_types)
    suiting = (family for family in families if family.suits(config))
    return next(of_kind, next(suiting, families[-1]))


def _unknown_class(given: str) -> UnsupportedModelError:
    """The error for a class of no family: what is known of it, and what is near."""
    what = "which quantkit does not know"
    if (architecture := architecture_of(given)) is not None:
        reason = REFUSED.get(given, "quantkit does not convert it yet")
        what = f"of llama.cpp's architecture {architecture!r}: {reason}"
    near = difflib.get_close_matches(given, BY_CLASS, n=3, cutoff=0.6)
    return UnsupportedModelError(
        f"config.json names the architecture {shown(given)}, {what}"
        + (f"; nearest: {', '.join(near)}" if near else "")
        + "; `tensors_only=True` writes the tensors under the names they have"
    )


def settled(config: Config, longest: int = MAX_COUNT) -> tuple[Family, dict[str, Any]]:
    """The family of a Hugging Face config, and the complete config.

    Args:
        config: with the keys of a nested `text_config` at the top level.
        longest: the longest axis of the checkpoint's tensors.

    Raises:
        CheckpointError: a value has a wrong type or range, or contradicts another.
        UnsupportedModelError: no family has that class.
    """
    stated = _with_text_class(checked_config(config))
    family = family_for_config(stated)
    check_nested(stated)
    check_synonyms(stated)
    check_sizes(stated, longest)
    complete = family.complete(stated)
    check_relations(complete, family.layer_types, rotates=bool(family.rope_types))
    return family, complete


def _with_text_class(config: Config) -> dict[str, Any]:
    """The config with the class of its text model, if the whole is of no family.

    Settings outside of `text_config` are then those of other parts.  Published configs
    name that class in `text_config`; in those that transformers 5 writes, only its
    `model_type` tells.

    Raises:
        CheckpointError: `text_config.architectures` is no list of texts.
    """
    inner: Config = config.get("text_config") or {}
    if not inner or BY_CLASS.keys() & set(config.get("architectures") or ()):
        return dict(config)
    named = checked_config({"architectures": inner.get("architectures")})
    by_type = TEXT_CLASSES.get(_type_of(str(inner.get("model_type") or "")))
    for name in (*(named["architectures"] or ()), by_type):
        if name in BY_CLASS:
            others = KINDS.keys() - inner.keys() - set(OUTER)
            own = {key: v for key, v in config.items() if key not in others}
            return {**own, "architectures": [name]}
    return dict(config)


def gives_embeddings(arch: str, metadata: Mapping[str, Field]) -> bool:
    """Whether a GGUF file is an encoder, which predicts no text.

    Of an architecture with models of both kinds, encoders are those whose tokens see
    both sides (`attention.causal` is false).
    """
    if arch not in ENCODERS or arch not in DECODERS:
        return arch in ENCODERS
    causal = metadata.get(f"{arch}.{CAUSAL}")
    return causal is not None and causal.value is False


def family_named(arch: str, metadata: Mapping[str, Field] | None = None) -> Family:
    """The family that loads GGUF files of an architecture.

    Args:
        arch: the file's `general.architecture`.
        metadata: of the file; it decides where an architecture has encoders as well as
            models that predict text.  None: the first family of that name.

    Raises:
        UnsupportedModelError: no family has that name.
    """
    predicts = metadata is not None and not gives_embeddings(arch, metadata)
    for each in LISTING:
        if each.name == arch and (metadata is None or each.predicts_text is predicts):
            return _family(each)
    names = list(dict.fromkeys(each.name for each in LISTING))
    raise UnsupportedModelError(
        f"the model's architecture is {arch!r}, which quantkit does not know"
        f"{suggest(arch, names)}"
    )
