"""The format in which a GGUF file wants conversations, for Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..checkpoint.front_matter import UTF8
from ..errors import FormatError
from ..gguf import Field
from ..tokens.chat import KEY, ChatTemplate
from ..tokens.encoders import encoder_of
from ..tokens.metadata import Vocabulary
from ..tokens.token_type import TokenType
from ..visible import visible
from .go_template import go_template, is_plain
from .turns import Place, Turns, find_turns

__all__ = ["ChatFormat", "chat_format"]

DATE = "strftime_now"
"""The function of chat templates that tells the date."""
OTHER_PARTS = {"tools": "tools", "think": "thinking"}
"""What else a chat template renders, by a word that it then contains."""


@dataclass(frozen=True)
class ChatFormat:
    """The format of conversations.

    Attributes:
        has_template: the file has a chat template.
        go_template: the same as a Go template; None: it cannot be one.
        why_not: why there is none.
        takes_system: it has a place for a system message, as far as is known.
        lost: what the chat template can do and the Go template cannot.
        stops: texts that end an answer.
    """

    has_template: bool
    go_template: str | None = None
    why_not: str = ""
    takes_system: bool = True
    lost: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


def chat_format(metadata: Mapping[str, Field]) -> ChatFormat:
    """The format that the metadata of a GGUF file tells.

    Raises:
        OptionError: Jinja is not installed, or its process cannot be started.
        FormatError: the vocabulary is damaged, or the template is no text.
        UnsupportedModelError: the vocabulary is of an unknown kind.
    """
    if KEY not in metadata:
        return ChatFormat(has_template=False)
    template = ChatTemplate.of(metadata)
    if not UTF8.accepts(template.text):
        return ChatFormat(True, why_not="the model's chat template is not UTF-8")
    vocabulary = Vocabulary(metadata)
    _, ends = encoder_of(vocabulary)
    bos = template.tokens.get("bos_token", "") if ends.add_bos else ""
    why = "the model's chat template does more than write texts around messages"
    with template.process() as process:
        try:
            turns = find_turns(
                lambda messages, answering: process.render(
                    messages, answering=answering
                ),
                bos,
            )
        except FormatError as error:
            turns, why = None, visible(str(error))
    if turns is None:
        return ChatFormat(True, why_not=why)
    date = DATE in template.text
    return ChatFormat(
        has_template=True,
        go_template=None if date else go_template(turns),
        why_not="the model's chat template tells the date" if date else "",
        takes_system=turns.place is not Place.NOWHERE,
        lost=tuple(OTHER_PARTS[word] for word in OTHER_PARTS if word in template.text),
        stops=_stops(turns, vocabulary),
    )


def _stops(turns: Turns, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The control tokens between answers; without any, the first line after one."""
    between = turns.answer_end + turns.user + turns.user_end
    control = {vocabulary.texts[i] for i in vocabulary.of_types(TokenType.CONTROL)}
    found = sorted((t for t in control if t in between), key=between.index)
    longest = [t for t in found if not any(t != o and t in o for o in found)]
    first, *_ = (turns.answer_end + turns.user).strip().split("\n")
    stops = longest or ([first.strip()] if first else [])
    return tuple(stop for stop in stops if is_plain(stop) and "\n" not in stop)
