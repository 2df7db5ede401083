"""Read the front matter of a model card: YAML between two lines of dashes.

Only texts, lists of texts, and objects with texts are used.  Objects inside of others
are not followed, so aliases cannot expand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from ..files.inputs import open_regular
from ..settings import Kind

__all__ = ["MAX_BYTES", "UTF8", "Card", "read_card"]

MAX_BYTES = 1 << 19
"""The largest part of a card that is read; real front matter is far smaller."""

Card = Mapping[str, Any]

MAX_DEPTH = 100
LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""libyaml's, ten times as fast; PyYAML may be built without it."""

_log = logging.getLogger(__name__)


def _is_utf8(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:  # a lone surrogate, from an escape
        return False


UTF8 = Kind("a text", _is_utf8)


def read_card(path: Path, texts: Sequence[str], related: Sequence[str]) -> Card:
    """The front matter of a model card; all values are strings, or lists of them.

    Args:
        path: README.md; if it is missing or has no front matter, the card is empty.
        texts: the keys to read whose values are texts or lists of texts.
        related: the keys to read whose lists may also contain objects with texts.
    """
    card = _front_matter(path)
    read: dict[str, Any] = {}
    for key in (*texts, *related):
        value = card.get(key)
        items = value if isinstance(value, list) else [value]
        kept = [item for item in items if _is_utf8(item)]
        if key in related:
            kept = [_texts_of(item) for item in items]
            kept = [item for item in kept if item]
        if value is not None and len(kept) < len(items):
            _log.warning(
                "%s: %s has a value that is not a text; it is left out", path, key
            )
        if kept:
            read[key] = kept if isinstance(value, list) else kept[0]
    return read


def _texts_of(item: Any) -> Any:
    """A text, or the texts of an object; None for anything else."""
    if isinstance(item, dict):
        return {k: v for k, v in item.items() if _is_utf8(k) and _is_utf8(v)}
    return item if _is_utf8(item) else None


def _front_matter(path: Path) -> Card:
    if not path.is_file():
        return {}
    with BufferedReader(open_regular(path)) as file:
        start = file.read(MAX_BYTES)
    first, *lines = start.decode("utf-8", "replace").splitlines() or [""]
    if first != "---":
        return {}
    if "---" not in lines:
        if len(start) == MAX_BYTES:
            _log.warning(
                "%s: its front matter does not end in the first %d bytes and is "
                "ignored",
                *(path, MAX_BYTES),
            )
        return {}
    matter = "\n".join(lines[: lines.index("---")]).replace("\t", "  ")
    try:
        _refuse_deep(matter)
        card = yaml.load(matter, Loader=LOADER)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())
        _log.warning(
            "%s: its front matter is not valid YAML and is ignored: %s", path, said
        )
        return {}
    return card if isinstance(card, dict) else {}


def _refuse_deep(matter: str) -> None:
    """Refuse deep nesting before a loader recurses; parsing alone does not.

    Raises:
        ValueError: it is too deep.
        yaml.YAMLError: it is not YAML.
    """
    depth = 0
    for event in yaml.parse(matter, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
