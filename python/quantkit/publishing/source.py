"""The model that files were made from: its name, license and other facts.

They come from the front matter of its model card, if the base is a checkpoint, and else
from the metadata of the files.  All of them are foreign text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.front_matter import read_card
from ..checkpoint.hub import id_of, model_id, resolve
from ..errors import OptionError
from ..gguf import Field, ValueType
from ..gguf.keys import text_of
from ..paths import StrPath
from ..visible import visible

__all__ = ["Source", "checked_id", "source_of"]

LICENSE = ("license", "license_name", "license_link")
FROM_CARD = (*LICENSE, "language", "tags", "pipeline_tag")
TASKS = (
    *("text-generation", "image-text-to-text", "audio-text-to-text"),
    *("video-text-to-text", "any-to-any", "feature-extraction", "sentence-similarity"),
    *("text-ranking", "fill-mask", "translation", "summarization"),
    *("automatic-speech-recognition", "text-classification", "text2text-generation"),
)
"""Names of tasks of the Hub; a GGUF file has them among its tags."""
HUB = re.compile(r"https?://huggingface\.co/([^/\s]+/[^/\s]+?)/?")
ADDRESSES = (
    "general.source.huggingface.repository",
    "general.source.repo_url",
    "general.source.url",
)


@dataclass(frozen=True)
class Source:
    """What is known of the model.

    Attributes:
        name: its name.
        repo: "org/name" on the Hub; None: not known.
        card: the values of `FROM_CARD` that are known: texts, or lists of texts.
    """

    name: str
    repo: str | None
    card: Mapping[str, Any]


def checked_id(given: object, parameter: str) -> str:
    """Check the name of a model on the Hub.

    Raises:
        OptionError: it is not such a name.
    """
    name = id_of(given) if isinstance(given, str) else None
    if name is None or "/" not in name:
        raise OptionError(f"`{parameter}` is {given!r}; expected org/name")
    return name


def source_of(
    metadata: Mapping[str, Field], base: StrPath | None, base_model: str | None
) -> Source:
    """What is known of the model that files were made from.

    Args:
        metadata: of one of the files.
        base: the model itself; None: it is not at hand.
        base_model: its name on the Hub; None: it is found in the others.

    Raises:
        OptionError: `base_model` is no such name.
        QuantkitError: `base` cannot be found.
    """
    folder, repo = _place(base)
    card = _from_metadata(metadata)
    if folder is not None:
        own = read_card(folder / "README.md", FROM_CARD, ())
        is_licensed = "license" in own
        card = {k: v for k, v in card.items() if not (is_licensed and k in LICENSE)}
        card |= _visible(own)
    if base_model is not None:
        repo = checked_id(base_model, "base_model")
    repo = repo or _address(metadata)
    name = text_of(metadata, "general.name") or (repo or "").rpartition("/")[2]
    return Source(visible(name) or "model", repo, card)


def _place(base: StrPath | None) -> tuple[Path | None, str | None]:
    """The folder of a checkpoint, and its name on the Hub."""
    if base is None:
        return None, None
    path = resolve(base if isinstance(base, str) else Path(os.fspath(base)))
    if not path.is_dir():
        return None, None
    is_of_hub = path != Path(os.fspath(base))
    return path, id_of(os.fspath(base)) if is_of_hub else model_id(path)


def _from_metadata(metadata: Mapping[str, Field]) -> dict[str, Any]:
    """The same facts from `general.*` keys."""
    found: dict[str, Any] = {}
    for key, name in (
        ("license", "general.license"),
        ("license_name", "general.license.name"),
        ("license_link", "general.license.link"),
    ):
        text = text_of(metadata, name)
        if text:
            found[key] = text
    if "," in found.get("license", ""):
        found["license"] = found["license"].split(",")
    for key, name in (("language", "general.languages"), ("tags", "general.tags")):
        field = metadata.get(name)
        is_list = field is not None and field.type is ValueType.ARRAY
        if field is not None and is_list and field.item_type is ValueType.STRING:
            found[key] = list(field.value)
    tasks = [tag for tag in found.get("tags", ()) if tag in TASKS]
    if tasks:
        found["pipeline_tag"] = tasks[-1]
    return _visible(found)


def _visible(values: Mapping[str, Any]) -> dict[str, Any]:
    """The texts without control characters and line breaks."""
    return {
        key: [visible(each) for each in value]
        if isinstance(value, list)
        else visible(value)
        for key, value in values.items()
    }


def _address(metadata: Mapping[str, Field]) -> str | None:
    """The name on the Hub that the metadata tell."""
    for key in ADDRESSES:
        text = text_of(metadata, key) or ""
        found = HUB.fullmatch(text)
        name = id_of(found[1] if found else text)
        if name is not None and "/" in name:
            return name
    return None
