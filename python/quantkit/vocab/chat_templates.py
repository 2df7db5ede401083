"""Chat templates: in files of their own, or in tokenizer_config.json.

Source: transformers, which takes chat_template.jinja and additional_chat_templates/
before tokenizer_config.json.  (llama.cpp's converter takes them after it, so it writes
the old template of a checkpoint whose template was replaced.)  chat_template.json is of
older processors; it counts where there is no other, as in llama.cpp's converter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..files.json_file import read_json
from ..gguf.keys import Field, ValueType, array, string
from ..settings import checked
from .files import TokenizerFiles
from .reading import read_text
from .schema import TEMPLATES

__all__ = ["chat_template_fields"]

_DEFAULT = "default"


def chat_template_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The fields of the chat template, or of several named ones.

    Raises:
        FormatError: a template is damaged.
    """
    named = {
        re.sub("[^0-9A-Za-z]", "_", name): template
        for name, template in _templates(files).items()
        if name
    }
    default = named.pop(_DEFAULT, None)
    fields = {
        f"tokenizer.chat_template.{name}": string(text) for name, text in named.items()
    }
    if named:
        fields["tokenizer.chat_templates"] = array(ValueType.STRING, sorted(named))
    if default is not None:
        fields["tokenizer.chat_template"] = string(default)
    return fields


def _templates(files: TokenizerFiles) -> dict[str, str]:
    """Templates by name, from the first place that has any."""
    of_files = _in_files(files.folder)
    of_settings = _by_name(files.settings.get("chat_template"))
    if of_files and of_settings and of_files != of_settings:
        files.notify(
            f"{files.folder}: chat_template.jinja and tokenizer_config.json have "
            "different chat templates; the former is used, as by transformers"
        )
    return of_files or of_settings or _in_json(files.folder / "chat_template.json")


def _in_files(folder: Path) -> dict[str, str]:
    paths = {_DEFAULT: folder / "chat_template.jinja"}
    others = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    paths |= {path.name.removesuffix(".jinja"): path for path in others}
    return {name: read_text(path) for name, path in paths.items() if path.exists()}


def _in_json(path: Path) -> dict[str, str]:
    template = (read_json(path) or {}).get("chat_template")
    return _by_name(checked(template, TEMPLATES, f"{path}: chat_template"))


def _by_name(template: Any) -> dict[str, str]:
    """One template, a list of named ones, or an object of them."""
    if template is None:
        return {}
    if isinstance(template, str):
        return {_DEFAULT: template}
    if isinstance(template, list):
        return {choice["name"]: choice["template"] for choice in template}
    return dict(template)
