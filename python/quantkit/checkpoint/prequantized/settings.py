"""Read and check the settings in a quantization config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ...errors import FormatError
from ...settings import shown

__all__ = ["block_setting", "entries", "number_setting", "section", "text_setting"]

Config = Mapping[str, Any]
Entry = TypeVar("Entry")


def text_setting(config: Config, *keys: str, default: str) -> str:
    """The text of the first of `keys` that has a value.

    Raises:
        FormatError: the value is not a text.
    """
    key = next((key for key in keys if config.get(key)), keys[0])
    value = config.get(key) or default
    if not isinstance(value, str):
        raise _wrong(key, value, "a text")
    return value


def number_setting(config: Config, key: str, default: int) -> int:
    """The integer of a key.

    Raises:
        FormatError: the value is not an integer.
    """
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(key, value, "an integer")
    return value


def block_setting(config: Config, key: str) -> tuple[int, int] | None:
    """The height and width of a block, or None.

    Raises:
        FormatError: the value is not two positive integers.
    """
    match config.get(key):
        case None:
            return None
        case [int(height), int(width)] if height > 0 and width > 0:
            return height, width
    raise _wrong(key, config[key], "two positive numbers")


def section(config: Config, key: str) -> dict[str, Any]:
    """An object in the config; empty if it is missing.

    Raises:
        FormatError: the value is not an object.
    """
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(key, value, "an object")
    return value


def entries(config: Config, key: str, kind: type[Entry]) -> list[Entry]:
    """A list of values of one type; empty if it is missing.

    Raises:
        FormatError: the value is not such a list.
    """
    value = config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(x, kind) for x in value):
        raise _wrong(key, value, f"a list of {kind.__name__}")
    return value


def _wrong(key: str, value: Any, expected: str) -> FormatError:
    return FormatError(
        f"the quantization config has {key}: {shown(value)}; expected {expected}; "
        "download config.json again"
    )
