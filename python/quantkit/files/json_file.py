"""Read JSON files that contain one object, and other JSON; write JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import FormatError
from .inputs import read_regular, refuse_irregular

__all__ = ["MAX_JSON_BYTES", "json_text", "parse_json", "read_json", "without_nan"]

MAX_JSON_BYTES = 1 << 29
"""The largest JSON file that is read; real tokenizers have up to 40 MB."""


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if there is no such file.

    Raises:
        FormatError: the file is not JSON, or not an object, or too large.
    """
    if not path.exists():
        return None
    refuse_irregular(path)
    content = parse_json(read_regular(path, MAX_JSON_BYTES), str(path))
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def parse_json(text: bytes | str, what: str) -> Any:
    """The value of a JSON text.

    Args:
        text: the text; bytes must be UTF-8.
        what: where it is from, for messages.

    Raises:
        FormatError: it is not JSON, nested too deeply, or not UTF-8.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text)
    except ValueError as error:  # also of integers with thousands of digits
        raise FormatError(
            f"{what} is not valid JSON ({error}); download it again"
        ) from error
    except RecursionError:
        raise FormatError(
            f"{what} is nested too deeply to be of a model; download it again"
        ) from None


def json_text(value: Any) -> str:
    """A value as indented JSON in printable ASCII; unknown numbers (NaN) are null."""
    text = json.dumps(without_nan(value), indent=2, allow_nan=False)
    return text.replace("\x7f", "\\u007f")  # the only one that `dumps` leaves


def without_nan(value: Any) -> Any:
    """The value with None instead of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
