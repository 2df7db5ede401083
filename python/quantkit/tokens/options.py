"""Options that define how texts are cut into sequences."""

from __future__ import annotations

from dataclasses import dataclass

from ..display import Displayed
from ..errors import OptionError
from ..integers import as_integer

__all__ = ["DEFAULT", "TextOptions", "checked_options"]


@dataclass(frozen=True)
class TextOptions(Displayed):
    """How a text is cut into sequences of tokens; see also `tokens.chunks`.

    Attributes:
        ctx: tokens per sequence; at least 4.
        chunks: maximum number of sequences of each text; None: all.
        stride: tokens between the starts of overlapping windows, less than `ctx`; None:
            chunks without overlap.
        chat: texts are *.jsonl files of conversations, rendered with the model's chat
            template.

    Raises:
        OptionError: a value is not valid.

    Example:
        >>> TextOptions(ctx=1024, chunks=40)
        TextOptions(ctx=1024, chunks=40, stride=None, chat=False)
    """

    ctx: int = 512
    chunks: int | None = None
    stride: int | None = None
    chat: bool = False

    def __post_init__(self) -> None:
        for name, least in (("ctx", 4), ("chunks", 1), ("stride", 1)):
            given = getattr(self, name)
            if given is not None or name == "ctx":
                object.__setattr__(self, name, as_integer(given, name, least))
        if self.stride is not None and self.stride >= self.ctx:
            raise OptionError(
                f"`stride` must be less than the context of {self.ctx}, not "
                f"{self.stride}"
            )
        if not isinstance(self.chat, bool):
            raise OptionError(f"`chat` is {self.chat!r}; expected True or False")


def checked_options(options: TextOptions) -> TextOptions:
    """The options.

    Raises:
        OptionError: they are not `TextOptions`.
    """
    if not isinstance(options, TextOptions):
        raise OptionError(
            f"`options` is {options!r}; expected a TextOptions, such as "
            "TextOptions(ctx=512)"
        )
    return options


DEFAULT = TextOptions()
