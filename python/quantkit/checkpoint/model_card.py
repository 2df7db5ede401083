"""The `general.*` metadata: a model's names, license, parents and sampling settings.

Sources: the keys of the GGUF format document (ggml/docs/gguf.md); the inputs that
llama.cpp's gguf-py (metadata.py) reads: the front matter of README.md, config.json,
generation_config.json and the folder's name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FormatError, OptionError
from ..files.json_file import read_json
from ..gguf.keys import Field, ValueType, array, float32, int32, string, uint32
from ..settings import NULL, REAL, Kind, checked, either, integer, list_of, number
from .front_matter import UTF8, Card, read_card
from .hub import model_id
from .model_name import ModelName, title

__all__ = ["general_fields"]

_log = logging.getLogger(__name__)

# GGUF key -> keys of generation_config.json; the first one present is used.
_SAMPLING: Mapping[str, tuple[Callable[[Any], Field], tuple[str, ...]]] = {
    "sequence": (string, ("sequence",)),
    "top_k": (int32, ("top_k",)),
    "top_p": (float32, ("top_p",)),
    "min_p": (float32, ("min_p",)),
    "xtc_probability": (float32, ("xtc_probability",)),
    "xtc_threshold": (float32, ("xtc_threshold",)),
    "temp": (float32, ("temperature",)),
    "penalty_last_n": (int32, ("penalty_last_n",)),
    "penalty_repeat": (float32, ("penalty_repeat", "repetition_penalty")),
    "mirostat": (int32, ("mirostat",)),
    "mirostat_tau": (float32, ("mirostat_tau",)),
    "mirostat_eta": (float32, ("mirostat_eta",)),
}

_KINDS: Mapping[Callable[[Any], Field], Kind] = {
    string: UTF8,
    int32: integer(-(2**31), 2**31 - 1),
    float32: REAL,
}

# GGUF key -> keys of the model card, in the order of writing.
_FROM_CARD = {
    "name": ("name", "model_name"),
    "author": ("author", "model_author", "model_creator"),
    "version": ("version", "model_version"),
    "organization": ("organization", "model_organization"),
    "finetune": ("finetune", "model_finetune"),
    "basename": ("basename", "model_basename", "model_type"),
    "description": ("description", "model_description"),
    "size_label": ("size_label", "model_size_label"),
    "license": ("license",),
    "license.name": ("license_name",),
    "license.link": ("license_link",),
    "source.url": ("url", "model_url"),
    "source.doi": ("doi", "model_doi"),
    "source.uuid": ("uuid", "model_uuid"),
    "source.repo_url": ("repo_url", "model_repo_url"),
}

_PARENTS = ("base_model", "base_models", "base_model_sources")
_DATASETS = ("datasets", "dataset", "dataset_sources")
_RELATED_KEYS = (*_PARENTS, *_DATASETS)
_LISTS = {"tags": ("tags", "pipeline_tag"), "languages": ("languages", "language")}
_TEXT_KEYS = tuple(
    name for names in (*_FROM_CARD.values(), *_LISTS.values()) for name in names
)

# What a card can say about a parent model or a dataset, in the order of writing.
_FACTS = (
    "name",
    "author",
    "version",
    "organization",
    "description",
    "url",
    "doi",
    "uuid",
    "repo_url",
)
_SIMPLE = either(UTF8, number())
_GIVEN = either(_SIMPLE, list_of(_SIMPLE), NULL)
"""What the file of a user may give for a key."""
_HUB = "https://huggingface.co/"


def general_fields(
    folder: Path, n_weights: int, size_label: str, overrides: Path | None = None
) -> dict[str, Field]:
    """The `general.*` metadata of a checkpoint, in llama.cpp's order.

    Args:
        folder: the checkpoint; README.md and generation_config.json are optional.
        n_weights: the number of weights in all tensors.
        size_label: such as "7B".
        overrides: a JSON file with `general.*` keys that replace the folder's values.

    Raises:
        OptionError: the overrides cannot be read or contain another key.
        CheckpointError: a setting in generation_config.json has a wrong type.
    """
    given = _overrides(overrides)
    card = read_card(folder / "README.md", _TEXT_KEYS, _RELATED_KEYS)
    fields = _sampling_fields(folder / "generation_config.json")
    values = {key: _first(card, names) for key, names in _FROM_CARD.items()}
    for name in _names(folder, n_weights):
        for key, part in asdict(name).items():
            values[key] = values[key] or part
    values["size_label"] = values["size_label"] or size_label
    values |= {key: given[key] for key in values if key in given}
    for key, value in values.items():
        if value:
            fields[f"general.{key}"] = string(",".join(map(str, _list(value))))
    parents, sets = _first(card, _PARENTS), _first(card, _DATASETS)
    fields |= _related_fields("base_model", _list(parents), n_weights)
    fields |= _related_fields("dataset", _list(sets), n_weights)
    for key, names in _LISTS.items():
        words = [word for name in names for word in _list(card.get(name))]
        words = list(map(str, _list(given.get(key)))) or words
        if words:
            fields[f"general.{key}"] = array(ValueType.STRING, words)
    return fields


def _overrides(path: Path | None) -> dict[str, Any]:
    """The `general.*` keys of a JSON file, without that prefix."""
    if path is None:
        return {}
    try:
        content = read_json(path)
    except FormatError as error:
        raise OptionError(f"`metadata_file`: {error}") from error
    if content is None:
        raise OptionError(f"`metadata_file`: there is no file {path}")
    known = {f"general.{key}" for key in (*_FROM_CARD, "tags", "languages")}
    for key in content:
        if key not in known:
            raise OptionError(
                f"`metadata_file`: {path} holds the key {key!r}; "
                f"known: {', '.join(sorted(known))}"
            )
        checked(content[key], _GIVEN, f"`metadata_file`: {path}: {key}", OptionError)
    return {key.removeprefix("general."): value for key, value in content.items()}


def _sampling_fields(path: Path) -> dict[str, Field]:
    """The recommended sampling settings in generation_config.json.

    Raises:
        CheckpointError: a setting has a wrong type or range.
    """
    try:
        config = read_json(path) or {}
    except FormatError as error:
        _log.warning("%s; the file is ignored", error)
        return {}
    fields = {}
    for key, (typed, names) in _SAMPLING.items():
        name = next((name for name in names if name in config), None)
        value = None if name is None else config[name]
        if typed is int32 and isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None:
            checked(value, _KINDS[typed], f"{path}: {name}", CheckpointError)
            fields[f"general.sampling.{key}"] = typed(value)
    return fields


def _names(folder: Path, n_weights: int) -> Iterator[ModelName]:
    """The parsed names of the model: the one in config.json, then the folder's."""
    stated = (read_json(folder / "config.json") or {}).get("_name_or_path")
    if isinstance(stated, str) and stated and stated.count("/") <= 1:  # not a path
        yield _titled(stated, n_weights)
    yield _titled(model_id(folder) or folder.absolute().name, n_weights)


def _titled(model_id: str, n_weights: int) -> ModelName:
    name = ModelName.parse(model_id, n_weights)
    organization = name.organization and title(name.organization)
    return replace(name, name=title(name.name), organization=organization)


def _related_fields(kind: str, entries: list[Any], n_weights: int) -> dict[str, Field]:
    """The fields of a model's parent models or datasets."""
    if not entries:
        return {}
    fields = {f"general.{kind}.count": uint32(len(entries))}
    for i, entry in enumerate(entries):
        facts = entry if isinstance(entry, dict) else _facts(str(entry), n_weights)
        for key in _FACTS:
            if facts.get(key):
                fields[f"general.{kind}.{i}.{key}"] = string(str(facts[key]))
    return fields


def _facts(entry: str, n_weights: int) -> dict[str, str | None]:
    """What the name or URL of a model or dataset says about it."""
    is_address = re.match("(https?|ssh)://", entry) is not None
    model_id = re.sub("^https?://huggingface.co/(?=[^/]+/[^/]+$)", "", entry)
    if is_address and model_id == entry:
        return {"repo_url": entry}
    name = _titled(model_id, n_weights)
    address = (
        entry if is_address else f"{_HUB}{model_id}" if name.organization else None
    )
    return {
        "name": name.name,
        "version": name.version,
        "organization": name.organization,
        "repo_url": address,
    }


def _first(card: Card, names: Sequence[str]) -> Any:
    """The value of the first of `names` that a card has."""
    return next((card[name] for name in names if card.get(name)), None)


def _list(value: Any) -> list[Any]:
    """A value or a list of values, as a list."""
    return value if isinstance(value, list) else [value] if value else []
