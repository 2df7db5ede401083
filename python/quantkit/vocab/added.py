"""Added tokens: those that are matched in a text before the rest is split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..tokens.token_type import TokenType

__all__ = ["AddedToken", "looks_special", "own_ids", "padding", "token_text"]


def looks_special(text: str) -> bool:
    """Whether an added token's text looks like a control token.

    Some checkpoints do not mark them, so llama.cpp's converter checks the text too.
    """
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def padding(i: int) -> str:
    """The text of a token that pads the vocabulary to the model's `vocab_size`."""
    return f"[PAD{i}]"


def token_text(entry: object) -> str | None:
    """The text of a token in tokenizer_config.json: a string or an object's content."""
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched in the text before the rest is split."""

    id: int
    content: str
    special: bool

    @property
    def type(self) -> TokenType:
        """CONTROL if it is marked as special or looks like it, else USER_DEFINED."""
        if self.special or looks_special(self.content):
            return TokenType.CONTROL
        return TokenType.USER_DEFINED

    @property
    def marked_type(self) -> TokenType:
        """CONTROL if it is marked as special, else USER_DEFINED."""
        return TokenType.CONTROL if self.special else TokenType.USER_DEFINED

    @property
    def text(self) -> str:
        """The text in GGUF's form: user-defined tokens have plain spaces."""
        if self.type is TokenType.USER_DEFINED:
            return self.content.replace("▁", " ")
        return self.content


def own_ids(
    base: Mapping[str, int], given: Mapping[str, int], texts: Iterable[str]
) -> dict[str, int]:
    """The id of each added token: the vocabulary's, else the one that the files give.

    The tokenizers library numbers added tokens without gaps, whatever the files say.
    But the rows of the embedding are in the order that the files give.

    Args:
        base: the vocabulary without added tokens: ids by text.
        given: ids that the files give to added tokens.
        texts: the added tokens in the library's order.
    """
    taken = set(base.values())
    following = max(taken, default=-1) + 1
    ids: dict[str, int] = {}
    for text in texts:
        i = base.get(text, given.get(text))
        if i is None or (i in taken and text not in base):
            i = following
        ids[text] = i
        taken.add(i)
        following = max(following, i + 1)
    return ids
