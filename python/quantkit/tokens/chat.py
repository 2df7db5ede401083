"""Render messages with a model's own chat template.

Templates come from model files and are untrusted programs.  They run in Jinja's
sandbox, so they can change nothing and access only what they are passed.
Source of what a template may use: transformers' documentation ("Chat templates").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import FormatError, OptionError
from ..gguf.keys import Field
from .metadata import Vocabulary

__all__ = ["ChatTemplate"]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template and the texts of the special tokens that it may use.

    Attributes:
        text: the template.
        tokens: texts of "bos_token" and "eos_token", if the model has them.
    """

    text: str
    tokens: Mapping[str, str]

    @classmethod
    def of(cls, metadata: Mapping[str, Field]) -> ChatTemplate:
        """The template in a model's metadata.

        Raises:
            OptionError: the model has none.
        """
        if "tokenizer.chat_template" not in metadata:
            raise OptionError(
                "the model has no chat template (tokenizer.chat_template), so "
                "`chat=True` cannot render messages; use a model that was trained on "
                "conversations"
            )
        vocabulary = Vocabulary(metadata)
        ids = {role: vocabulary.special(role, None) for role in ("bos", "eos")}
        return cls(
            str(metadata["tokenizer.chat_template"].value),
            {
                f"{role}_token": vocabulary.texts[i]
                for role, i in ids.items()
                if i is not None
            },
        )

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of a conversation.

        Raises:
            OptionError: Jinja is not installed.
            FormatError: the template is damaged, or refuses the messages.
        """
        try:
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise OptionError(
                "`chat=True` needs Jinja: pip install 'quantkit[chat]'"
            ) from None
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _now
        try:
            return environment.from_string(self.text).render(
                messages=messages, add_generation_prompt=False, **self.tokens
            )
        except Exception as error:  # an untrusted program may raise anything
            raise FormatError(
                f"the model's chat template cannot render the messages: {error}"
            ) from None


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise ValueError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
