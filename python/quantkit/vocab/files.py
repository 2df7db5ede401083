"""The tokenizer files of a checkpoint and the types of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FormatError
from ..files.json_file import read_json
from ..tokens.token_type import TokenType

__all__ = [
    "SPECIAL_KINDS",
    "AddedToken",
    "TokenizerFiles",
    "looks_special",
    "padding",
    "token_text",
]

Json = Mapping[str, Any]

# The special roles that tokenizer_config.json may assign.
SPECIAL_KINDS: tuple[str, ...] = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

# Special tokens that a transformers class assumes if no file names them.
_LLAMA_ROLES = {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}
_GPT2_ROLES = dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>")
_CLASS_ROLES: dict[str, Mapping[str, str]] = {
    "LlamaTokenizer": _LLAMA_ROLES,
    "CodeLlamaTokenizer": _LLAMA_ROLES,
    "GPT2Tokenizer": _GPT2_ROLES,
    "CodeGenTokenizer": _GPT2_ROLES,
    "GPTNeoXTokenizer": _GPT2_ROLES,
    "Qwen2Tokenizer": dict.fromkeys(("eos", "unk", "pad"), "<|endoftext|>"),
    "BloomTokenizer": {**_LLAMA_ROLES, "pad": "<pad>"},
}
# The tokenizer class by config.json's `model_type`, used if no file names one.
_CLASSES = {
    **dict.fromkeys(("llama", "mistral", "mixtral"), "LlamaTokenizer"),
    **dict.fromkeys(("gpt2", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "mpt", "olmo", "stablelm"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"),
    "bloom": "BloomTokenizer",
    "phi": "CodeGenTokenizer",
}


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


@dataclass(frozen=True)
class TokenizerFiles:
    """A checkpoint's tokenizer files; a missing one is empty.

    Attributes:
        folder: the checkpoint folder.
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
        if tokenizer:
            model = tokenizer.get("model")
            if not isinstance(model, Mapping):
                raise FormatError(
                    f"{folder}/tokenizer.json has no 'model'; download it again"
                )
            vocab = model.get("vocab")
            if not vocab or not isinstance(vocab, (Mapping, list)):
                raise FormatError(
                    f"{folder}/tokenizer.json has no tokens; download it again"
                )
        settings = read_json(folder / "tokenizer_config.json") or {}
        return cls(folder, config, tokenizer, settings)

    @property
    def sentencepiece(self) -> Path:
        """The path of the SentencePiece model, which may not exist."""
        return self.folder / "tokenizer.model"

    @property
    def vocab_size(self) -> int | None:
        """The number of rows of the model's embedding, if config.json has it."""
        config = {**self.config, **(self.config.get("text_config") or {})}
        size = config.get("vocab_size") or config.get("padded_vocab_size")
        return size if isinstance(size, int) else None

    def size_for(self, largest: int) -> int:
        """The number of tokens to write, given the largest token id.

        Raises:
            CheckpointError: `largest` is not below the model's `vocab_size`.
        """
        size = self.vocab_size
        if size is not None and largest >= size:
            raise CheckpointError(
                f"the tokenizer has token ids up to {largest}, but config.json says "
                f"vocab_size {size}; they belong to different models"
            )
        return largest + 1 if size is None else size

    def read_added_tokens(self) -> dict[str, int]:
        """Ids by text from added_tokens.json, which older checkpoints have."""
        return read_json(self.folder / "added_tokens.json") or {}

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

    @property
    def tokenizer_class(self) -> str:
        """The transformers class of this tokenizer, without the suffix "Fast"."""
        named = self.settings.get("tokenizer_class") or self.config.get(
            "tokenizer_class", _CLASSES.get(self.config.get("model_type", ""), "")
        )
        return str(named).removesuffix("Fast")

    def special_text(self, role: str) -> str | None:
        """The text of a special token, by tokenizer_config.json or by the class."""
        default = _CLASS_ROLES.get(self.tokenizer_class, {}).get(role)
        return token_text(self.settings.get(f"{role}_token", default))

    def special_texts(self) -> list[str]:
        """The texts of all special tokens."""
        extra = self.settings.get("additional_special_tokens") or ()
        texts = [self.special_text(role) for role in SPECIAL_KINDS]
        texts += [token_text(entry) for entry in extra]
        return list(dict.fromkeys(text for text in texts if text is not None))


def token_text(entry: object) -> str | None:
    """The text of a token in tokenizer_config.json: a string or an object's content."""
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None
