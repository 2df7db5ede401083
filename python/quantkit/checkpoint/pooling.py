"""How a sentence-transformers folder pools the hidden states of an encoder.

Source: the files that sentence-transformers writes, modules.json and the config.json of
its Pooling module.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import CheckpointError, FormatError, UnsupportedModelError
from ..files.inputs import read_regular
from ..files.json_file import MAX_JSON_BYTES, parse_json, read_json
from ..settings import shown

__all__ = ["MODULES", "POOLING_CONFIG", "modules_of", "read_pooling"]

MODULES, POOLING_CONFIG = "modules.json", "1_Pooling/config.json"
"""Where the files are, the second one by default."""

FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
MODES = {"mean": "mean", "cls": "cls", "lasttoken": "last"}


def read_pooling(folder: Path) -> str | None:
    """ "mean", "cls" or "last"; None if the folder names no pooling.

    Raises:
        CheckpointError: modules.json names a file that is missing or outside.
        FormatError: a file is damaged.
        UnsupportedModelError: GGUF has no number for the pooling.
    """
    for module in modules_of(folder):
        if str(module.get("type")).endswith("Pooling"):
            return _of_module(folder, str(module.get("path")))
    return None


def modules_of(folder: Path) -> list[dict[str, Any]]:
    """What modules.json says of each module; empty if there is no such file.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / MODULES
    if not path.exists():
        return []
    modules = parse_json(read_regular(path, MAX_JSON_BYTES), str(path))
    if not isinstance(modules, list):
        raise FormatError(f"{path} holds a {type(modules).__name__}, not a list")
    return [module for module in modules if isinstance(module, dict)]


def _of_module(folder: Path, name: str) -> str:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise CheckpointError(
            f"{folder / MODULES} names the folder {name!r}; expected one inside"
        )
    path = folder / place / "config.json"
    config = read_json(path)
    if config is None:
        raise CheckpointError(
            f"{folder / MODULES} names {place}/config.json, which is missing; "
            "download the complete folder"
        )
    for flag, pooling in FLAGS.items():
        if config.get(flag):
            return pooling
    mode = config.get("pooling_mode")
    if mode in MODES:
        return MODES[mode]
    stated = mode or [key for key, value in config.items() if value is True]
    raise UnsupportedModelError(
        f"{path} pools by {shown(stated)}; GGUF readers know "
        f"only {', '.join(MODES.values())}"
    )
