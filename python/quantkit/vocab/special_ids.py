"""The ids of special tokens in config.json and generation_config.json.

Source: transformers.  The outer config's id goes before that of `text_config`, and in
generation, that of generation_config.json before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..files.json_file import read_json
from .files import TokenizerFiles
from .schema import Json, check_config

__all__ = ["ids_of_config"]

_GENERATION = ("bos", "eos")


def ids_of_config(
    files: TokenizerFiles, kinds: Iterable[str], named: Mapping[str, int], n_tokens: int
) -> dict[str, int]:
    """The id of each special role.

    Args:
        files: the tokenizer's files.
        kinds: the roles to look for.
        named: the ids of the roles that the tokenizer's files name; these are kept.
        n_tokens: the number of tokens; ids from here on are left out.

    Raises:
        FormatError: config.json or generation_config.json is damaged.
    """
    outer = _config(files)
    inner = outer.get("text_config") or {}
    generation = files.read_generation()
    ids = dict(named)
    for kind in kinds:
        key = f"{kind}_token_id"
        found = _id(inner if outer.get(key) is None else outer, key)
        later = _id(generation, key) if kind in _GENERATION else None
        chosen = later if found is not None and later is not None else found
        if chosen is not None and chosen < n_tokens:
            ids.setdefault(kind, chosen)
        elif chosen is not None and kind not in ids:
            files.notify(
                f"{files.folder}: {key} is {chosen}, but there are {n_tokens} tokens; "
                "it is left out"
            )
        if kind in _GENERATION and kind in ids:
            _compare(files, key, ids[kind], (outer, inner, generation))
    return ids


def _config(files: TokenizerFiles) -> Json:
    """config.json as it is on disk, where `text_config` is still apart."""
    path = files.folder / "config.json"
    config = read_json(path) or {}
    check_config(config, str(path))
    return {**files.config, **config} if config else files.config


def _id(config: Json, key: str) -> int | None:
    """The id, if there is one and not a list of several."""
    i = config.get(key)
    return i if isinstance(i, int) and i >= 0 else None


def _compare(
    files: TokenizerFiles, key: str, chosen: int, configs: tuple[Json, Json, Json]
) -> None:
    """Notify of files that give another id, or other ids, than the one chosen."""
    names = ("config.json", "config.json's text_config", "generation_config.json")
    for name, config in zip(names, configs, strict=True):
        value = config.get(key)
        several = value if isinstance(value, list) else [value]
        if value is not None and -1 not in several and chosen not in several:
            files.notify(
                f"{files.folder}: {key} is {value} in {name}, but another file says "
                f"{chosen}, which is written"
            )
