"""Render messages with a model's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from ..gguf.keys import Field
from ..settings import TEXT, checked
from .chat_process import ChatProcess
from .metadata import Vocabulary

__all__ = ["KEY", "ChatTemplate"]

KEY = "tokenizer.chat_template"


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
            FormatError: it is not a text, or the vocabulary is damaged.
        """
        if KEY not in metadata:
            raise OptionError(
                "the model has no chat template (tokenizer.chat_template), so "
                "`chat=True` cannot render messages; use a model that was trained on "
                "conversations"
            )
        text: str = checked(metadata[KEY].value, TEXT, KEY)
        vocabulary = Vocabulary(metadata)
        ids = {role: vocabulary.special(role, None) for role in ("bos", "eos")}
        return cls(
            text,
            {
                f"{role}_token": vocabulary.texts[i]
                for role, i in ids.items()
                if i is not None
            },
        )

    def process(self) -> ChatProcess:
        """A process that renders many conversations; to be used in a `with` block.

        Raises:
            OptionError: Jinja is not installed, or the process cannot be started.
        """
        try:
            import jinja2.sandbox  # noqa: F401 (the process imports it)
        except ImportError:
            raise OptionError(
                "chat templates need Jinja: pip install 'quantkit[chat]'"
            ) from None
        return ChatProcess(self.text, self.tokens)

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of one conversation.

        Raises:
            OptionError: Jinja is not installed, or no process can be started.
            FormatError: the template is damaged, refuses the messages, or needs too
                much time or memory.
        """
        with self.process() as process:
            return process.render(messages)
