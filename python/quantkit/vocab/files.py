"""The files that describe a tokenizer, read once, and the types of tokens."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import read_json
from ..errors import FormatError

__all__ = ["SPECIAL_KINDS", "AddedToken", "TokenType", "TokenizerFiles", "token_text"]

Json = Mapping[str, Any]

# The roles for which tokenizer_config.json may name a token.
SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class TokenType(enum.IntEnum):
    """What a token is, as `tokenizer.ggml.token_type` says it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class AddedToken:
    """A token that a tokenizer finds in the text before it splits the rest."""

    id: int
    content: str
    special: bool

    @property
    def type(self) -> TokenType:
        """CONTROL if it is marked as special or looks like it, else USER_DEFINED.

        Several makers forgot the mark, so llama.cpp's converter goes by the text too.
        """
        text = self.content
        looks_special = (
            text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
            or (text.startswith("<|") and text.endswith("|>"))
            or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
            or (text.startswith("<unused") and text.endswith(">"))
        )
        if self.special or looks_special:
            return TokenType.CONTROL
        return TokenType.USER_DEFINED

    @property
    def text(self) -> str:
        """The text as GGUF wants it: a user-defined token with plain spaces."""
        if self.type is TokenType.USER_DEFINED:
            return self.content.replace("▁", " ")
        return self.content


@dataclass(frozen=True)
class TokenizerFiles:
    """A checkpoint's tokenizer files; an absent one is empty.

    Attributes:
        folder: where they lie.
        config: config.json.
        tokenizer: tokenizer.json.
        settings: tokenizer_config.json.
    """

    folder: Path
    config: Json
    tokenizer: Json
    settings: Json

    @classmethod
    def read(cls, folder: Path, config: Json) -> TokenizerFiles:
        """Read the files in `folder`.

        Raises:
            FormatError: one of them is damaged.
        """
        tokenizer = read_json(folder / "tokenizer.json") or {}
        if tokenizer and not isinstance(tokenizer.get("model"), Mapping):
            raise FormatError(f"{folder}/tokenizer.json has no 'model'; fetch it again")
        settings = read_json(folder / "tokenizer_config.json") or {}
        return cls(folder, config, tokenizer, settings)

    def added_in_settings(self) -> Iterator[AddedToken]:
        """The tokens that tokenizer_config.json adds."""
        for number, token in self.settings.get("added_tokens_decoder", {}).items():
            yield AddedToken(
                int(number), token["content"], bool(token.get("special", False))
            )

    def added_in_tokenizer(self) -> Iterator[AddedToken]:
        """The tokens that tokenizer.json adds."""
        for token in self.tokenizer.get("added_tokens", ()):
            yield AddedToken(token["id"], token["content"], token.get("special", False))

    def special_texts(self) -> set[str]:
        """The texts that tokenizer_config.json names as BOS, EOS and so on."""
        named = [self.settings.get(f"{kind}_token") for kind in SPECIAL_KINDS]
        named += self.settings.get("additional_special_tokens") or ()
        return {text for entry in named if (text := token_text(entry)) is not None}


def token_text(entry: object) -> str | None:
    """The text of a token in tokenizer_config.json, given as such or as an object."""
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None
