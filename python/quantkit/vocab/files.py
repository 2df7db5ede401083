"""The tokenizer files of a checkpoint, checked when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files.json_file import read_json
from ..progress import Notify
from .added import AddedToken, own_ids, token_text
from .schema import (
    SPECIAL_KINDS,
    Json,
    check_config,
    check_generation,
    check_ids,
    check_settings,
    check_special_tokens,
    check_tokenizer,
)

__all__ = ["MAX_PADDING", "TokenizerFiles"]

MAX_PADDING = 1 << 20
"""The most placeholders that are written; real models have up to some thousands."""

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


def _ignored(message: str) -> None:
    """Drop a message for the user."""


@dataclass(frozen=True)
class TokenizerFiles:
    """A checkpoint's tokenizer files; a missing one is empty.

    Attributes:
        folder: the checkpoint folder.
        config: config.json.
        tokenizer: tokenizer.json.
        settings: tokenizer_config.json; where special_tokens_map.json names another
            token and transformers reads that file, with that token.
        named: special_tokens_map.json, if transformers reads it.
        notify: called with a message where two files disagree.
    """

    folder: Path
    config: Json
    tokenizer: Json
    settings: Json
    named: Json
    notify: Notify = _ignored

    @classmethod
    def read(
        cls, folder: Path, config: Json, notify: Notify | None = None
    ) -> TokenizerFiles:
        """Read the files in `folder`.

        Raises:
            FormatError: one of them is damaged.
        """
        notify = notify or _ignored
        check_config(config, f"{folder}/config.json")
        tokenizer = read_json(folder / "tokenizer.json") or {}
        if tokenizer:
            check_tokenizer(tokenizer, f"{folder}/tokenizer.json")
        settings = read_json(folder / "tokenizer_config.json") or {}
        check_settings(settings, f"{folder}/tokenizer_config.json")
        named = read_json(folder / "special_tokens_map.json") or {}
        check_special_tokens(named, f"{folder}/special_tokens_map.json")
        if "added_tokens_decoder" in settings:
            named = {}  # transformers does not read it either
        settings = {**settings, **_renamed(settings, named, notify)}
        files = cls(folder, config, tokenizer, settings, named, notify)
        files._compare_added()
        return files

    def _compare_added(self) -> None:
        """Notify of tokens that are special by one of two files only."""
        by_text = {token.content: token for token in self.added_in_tokenizer()}
        pairs = [(t, by_text.get(t.content)) for t in self.added_in_settings()]
        differing = [(a, b) for a, b in pairs if b and a.special != b.special]
        if differing:
            here, there = differing[0]
            self.notify(
                f"{self.folder}: {len(differing)} added token(s), such as "
                f"{here.content!r:.80}, have special={here.special} in "
                f"tokenizer_config.json, but {there.special} in tokenizer.json; the "
                "former is used, as by transformers"
            )

    @property
    def vocab_size(self) -> int | None:
        """The number of rows of the model's embedding, if config.json has it."""
        config = {**self.config, **(self.config.get("text_config") or {})}
        size: int | None = config.get("vocab_size") or config.get("padded_vocab_size")
        return size

    def size_for(self, base: Iterable[int], added: Mapping[int, str]) -> int:
        """The number of tokens to write.

        Added tokens without a row in the embedding are left out, as by llama.cpp's
        converter for tokenizer.model.

        Args:
            base: the ids of the vocabulary.
            added: the texts of the added tokens by id.

        Raises:
            CheckpointError: an id of the vocabulary, without the added tokens, is not
                below the model's `vocab_size`; or the rest would be placeholders.
        """
        ids = {*base, *added}
        size = self.vocab_size
        if size is None:
            return self.filled(max(ids) + 1, len(ids))
        largest = max((i for i in ids if i not in added), default=-1)
        if largest >= size:
            raise CheckpointError(
                f"the tokenizer in {self.folder} has token ids up to {largest}, but "
                f"config.json says vocab_size {size}; they belong to different models: "
                "take both from the same one"
            )
        self.leave_out({i: text for i, text in added.items() if i >= size}, size)
        return self.filled(size, len(ids))

    def leave_out(self, beyond: Mapping[int, str], size: int) -> None:
        """Notify of tokens without a row in the embedding, by id."""
        if beyond:
            first = min(beyond)
            self.notify(
                f"{self.folder}: {len(beyond)} token(s) from id {first} "
                f"({beyond[first]!r:.80}) have no row in the embedding (vocab_size "
                f"{size}) and are left out"
            )

    def filled(self, size: int, n_tokens: int) -> int:
        """`size`, if the tokens nearly fill it.

        Raises:
            CheckpointError: the rest would be millions of placeholders.
        """
        if size - n_tokens > MAX_PADDING:
            raise CheckpointError(
                f"the tokenizer in {self.folder} has {n_tokens} tokens, but there "
                f"should be {size} by config.json's vocab_size or the largest id; one "
                "of them is wrong"
            )
        return size

    def read_added_tokens(self) -> dict[str, int]:
        """Ids by text from added_tokens.json, which older checkpoints have.

        Raises:
            FormatError: the file is damaged.
        """
        return self._read_ids("added_tokens.json") or {}

    def read_vocab(self) -> dict[str, int] | None:
        """Ids by text from vocab.json, or None if there is no such file.

        Raises:
            FormatError: the file is damaged.
        """
        return self._read_ids("vocab.json")

    def _read_ids(self, name: str) -> dict[str, int] | None:
        ids = read_json(self.folder / name)
        check_ids(ids or {}, f"{self.folder}/{name}")
        return ids

    def read_generation(self) -> Json:
        """generation_config.json, or an empty object.

        Raises:
            FormatError: the file is damaged.
        """
        generation = read_json(self.folder / "generation_config.json") or {}
        check_generation(generation, f"{self.folder}/generation_config.json")
        return generation

    def added_in_settings(self) -> Iterator[AddedToken]:
        """The tokens that tokenizer_config.json adds."""
        for number, token in (self.settings.get("added_tokens_decoder") or {}).items():
            yield AddedToken(int(number), token["content"], bool(token.get("special")))

    def added_in_tokenizer(self) -> Iterator[AddedToken]:
        """The tokens that tokenizer.json adds; those in its vocabulary have its ids."""
        for token in self.tokenizer.get("added_tokens") or ():
            text = token["content"]
            i = self._vocabulary.get(text, token["id"])
            yield AddedToken(i, text, bool(token.get("special")))

    @cached_property
    def _vocabulary(self) -> Mapping[str, int]:
        """tokenizer.json's ids by text, without the added tokens."""
        vocab = self.tokenizer.get("model", {}).get("vocab") or {}
        if isinstance(vocab, Mapping):
            return vocab
        return {text: i for i, (text, _) in enumerate(vocab)}

    def added_tokens(self) -> dict[str, AddedToken]:
        """The tokens that tokenizer_config.json and tokenizer.json add, by text.

        As in transformers, the former says which are special, the latter has the ids.
        """
        own = {token.content: token for token in self.added_in_tokenizer()}
        added = own | {token.content: token for token in self.added_in_settings()}
        given = {text: own.get(text, token).id for text, token in added.items()}
        ids = own_ids(self._vocabulary, given, added)
        return {text: replace(token, id=ids[text]) for text, token in added.items()}

    @property
    def tokenizer_class(self) -> str:
        """The transformers class of this tokenizer, without the suffix "Fast"."""
        named = (
            self.settings.get("tokenizer_class")
            or self.config.get("tokenizer_class")
            or _CLASSES.get(self.config.get("model_type") or "", "")
        )
        return str(named).removesuffix("Fast")

    def special_text(self, role: str) -> str | None:
        """The text of a special token, by tokenizer_config.json or by the class."""
        default = _CLASS_ROLES.get(self.tokenizer_class, {}).get(role)
        return token_text(self.settings.get(f"{role}_token", default))

    def special_texts(self) -> list[str]:
        """The texts of all special tokens: of the roles, then those without one."""
        texts = [self.special_text(role) for role in SPECIAL_KINDS]
        for source in (self.settings, self.named):
            texts += map(token_text, _special_entries(source))
        return list(dict.fromkeys(text for text in texts if text))


def _renamed(settings: Json, named: Json, notify: Notify) -> dict[str, Any]:
    """The roles for which special_tokens_map.json names another token."""
    changed = {}
    for key in (f"{kind}_token" for kind in SPECIAL_KINDS):
        here, there = token_text(settings.get(key)), token_text(named.get(key))
        if here and there and here != there:
            changed[key] = named[key]
            notify(
                f"{key} is {here!r:.80} in tokenizer_config.json, but {there!r:.80} in "
                "special_tokens_map.json; the latter is used, as by transformers"
            )
    return changed


def _special_entries(source: Json) -> Iterator[object]:
    """The special tokens without a role in common, as transformers finds them.

    Keys such as `image_token` name a token, and so do two lists, or objects by name.
    """
    for key, entry in source.items():
        is_flag = key.startswith("add_") or isinstance(entry, bool)
        if key.endswith("_token") and not is_flag:
            yield entry
    for key in ("additional_special_tokens", "extra_special_tokens"):
        entries = source.get(key) or ()
        yield from entries.values() if isinstance(entries, Mapping) else entries
