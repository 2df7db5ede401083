"""Read JSON files that contain one object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import FormatError

__all__ = ["read_json"]


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if there is no such file.

    Raises:
        FormatError: the file is not JSON, or not an object.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(
            f"{path} is not valid JSON ({error}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a {type(content).__name__}, not an object")
    return content
