"""Options that define how texts are cut into sequences."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index

from ..errors import OptionError

__all__ = ["DEFAULT", "TextOptions", "checked_options"]


@dataclass(frozen=True)
class TextOptions:
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
        for name in ("ctx", "chunks", "stride"):
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        if self.ctx is None or self.ctx < 4:
            raise OptionError(f"`ctx` must be at least 4, not {self.ctx}")
        if self.chunks is not None and self.chunks < 1:
            raise OptionError(f"`chunks` must be at least 1, not {self.chunks}")
        if self.stride is not None and not 0 < self.stride < self.ctx:
            raise OptionError(
                f"`stride` must be at least 1 and less than the context of {self.ctx}, "
                f"not {self.stride}"
            )


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


def _integer(name: str, value: object) -> int | None:
    try:
        return None if value is None else index(value)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError(f"`{name}` is {value!r}; expected an integer") from None


DEFAULT = TextOptions()
