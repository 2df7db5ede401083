"""Token ids from the vocabulary inside a GGUF file, the same ids that llama.cpp finds.

The text of a control token, such as "<s>", is a text like any other here.

Sources: the behaviour of llama.cpp's tokenizers for the vocabulary kinds `llama` and
`gpt2` (llama-vocab.cpp).  Byte-level BPE may differ in characters that Unicode defined
after version 15, which the tokenizers library knows and llama.cpp does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models, pre_tokenizers

from .errors import FormatError, UnsupportedModelError
from .gguf.keys import Field
from .vocab.files import TokenType
from .vocab.merging import PieceMerger
from .vocab.pretokenizers import PreTokenizer, pre_tokenizer_named

__all__ = ["Tokenizer"]

# Gives the ids of a text; says whether a token or the start precedes it.
Encoder = Callable[[str, bool], list[int]]

# What llama.cpp takes for a control token by its text, whatever its type...
_CONTROL = re.compile(
    r"<\|(eot_id|eom_id|im_end|end|endoftext|end_of_text|return|calls?|flush)\|>"
    r"|<(end_of_turn|end_of_utterance|eos|/s|PAD|REPO|reponame|fim-repo)>"
    r"|_?<EOT>|\[(EOT|EOS|PAD)\]|▁?<(PRE|SUF|MID)>"
    r"|<\|(fim_(prefix|suffix|middle|pad|repo)|repo_name|file_sep)\|>"
    r"|<fim[-_](prefix|suffix|middle|pad)>|<\|(code_)?(prefix|suffix|middle)\|>"
    "|<\uff5c(end▁of▁sentence|fim▁(begin|hole|end))\uff5c>"
)
# ...and what it takes for plain text.
_PLAIN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


@dataclass(frozen=True)
class Tokenizer:
    """Turns text into token ids; safe to use from many threads.

    Attributes:
        bos_id: the token that starts a text, if there is one.
        eos_id: the token that ends a text, if there is one.
        add_bos: whether `encode` starts with `bos_id`.
        add_eos: whether `encode` ends with `eos_id`.
        vocab_size: the number of tokens.

    Example:
        >>> tokenizer = Tokenizer.from_metadata(file.metadata)  # doctest: +SKIP
        >>> tokenizer.encode("Hello")  # doctest: +SKIP
        array([    1, 15043], dtype=int32)
    """

    bos_id: int | None
    eos_id: int | None
    add_bos: bool
    add_eos: bool
    vocab_size: int
    _user_defined: tuple[tuple[str, int], ...]
    _encoder: Encoder

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Field]) -> Tokenizer:
        """The tokenizer that a GGUF file's `tokenizer.*` metadata describes.

        Raises:
            FormatError: a key is missing.
            UnsupportedModelError: a kind of vocabulary, or a pre-tokenizer, that
                quantkit does not know.
        """
        vocabulary = _Vocabulary(metadata)
        kind = vocabulary.get("model")
        if kind == "llama":
            encoder, add_bos = _piece_encoder(vocabulary), True
            bos_id, eos_id = 1, 2
        elif kind == "gpt2":
            pre = pre_tokenizer_named(vocabulary.get("pre", "default"))
            encoder, add_bos = _byte_level_encoder(vocabulary, pre), pre.add_bos
            bos_id, eos_id = 11, 11
        else:
            raise UnsupportedModelError(
                f"the vocabulary is of the kind {kind!r}; quantkit reads 'llama' "
                "(SentencePiece) and 'gpt2' (byte-level BPE)"
            )
        return cls(
            bos_id=vocabulary.special("bos_token_id", bos_id),
            eos_id=vocabulary.special("eos_token_id", eos_id),
            add_bos=bool(vocabulary.get("add_bos_token", add_bos)),
            add_eos=bool(vocabulary.get("add_eos_token", False)),
            vocab_size=len(vocabulary.texts),
            _user_defined=vocabulary.user_defined(),
            _encoder=encoder,
        )

    def encode(self, text: str, add_special: bool = True) -> NDArray[np.int32]:
        """The token ids of `text`.

        Args:
            text: any text; nothing in it stands for a control token.
            add_special: start with BOS and end with EOS, if the model wants them.

        Returns:
            int32 [n].
        """
        ids: list[int] = []
        if add_special and self.add_bos and self.bos_id is not None:
            ids.append(self.bos_id)
        after_token = True
        for part in self._parts(text):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._encoder(part, after_token)
            after_token = isinstance(part, int)
        if add_special and self.add_eos and self.eos_id is not None:
            ids.append(self.eos_id)
        return np.array(ids, dtype=np.int32)

    def _parts(self, text: str) -> list[str | int]:
        """The text, cut at user-defined tokens."""
        parts: list[str | int] = [text] if text else []
        for token, i in self._user_defined:
            if token in text:
                parts = [piece for part in parts for piece in _cut(part, token, i)]
        return parts


def _cut(part: str | int, token: str, i: int) -> Iterator[str | int]:
    """A part of a text with token `i` in the place of its text."""
    if isinstance(part, int):
        yield part
        return
    first, *others = part.split(token)
    if first:
        yield first
    for other in others:
        yield i
        if other:
            yield other


class _Vocabulary:
    """The `tokenizer.ggml.*` metadata."""

    def __init__(self, metadata: Mapping[str, Field]) -> None:
        self._metadata = metadata
        self.texts: list[str] = [
            text or f"[EMPTY_{i}]" for i, text in enumerate(self.get("tokens"))
        ]
        self.ids = {text: i for i, text in enumerate(self.texts)}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.<key>`; without a default it must be there."""
        field = self._metadata.get(f"tokenizer.ggml.{key}")
        if field is None and default is None:
            raise FormatError(
                f"the metadata lacks tokenizer.ggml.{key}, so text cannot be tokenized"
            )
        return default if field is None else field.value

    def special(self, key: str, default: int) -> int | None:
        """A token id, or None if it is that of no token."""
        i = int(self.get(key, default))
        return i if 0 <= i < len(self.texts) else None

    def user_defined(self) -> tuple[tuple[str, int], ...]:
        """Tokens to find in a text before the rest is split: the longest first."""
        types = np.asarray(self.get("token_type", ()))
        places = np.flatnonzero(types == TokenType.USER_DEFINED).tolist()
        texts = [self.texts[i] for i in places if not _CONTROL.fullmatch(self.texts[i])]
        texts += [text for text in _PLAIN if text in self.ids and text not in texts]
        texts.sort(key=lambda text: -len(text.encode()))
        return tuple((text, self.ids[text]) for text in texts)


def _piece_encoder(vocabulary: _Vocabulary) -> Encoder:
    """SentencePiece's BPE, with a space before a text and after a token."""
    no_scores = np.zeros(len(vocabulary.texts))
    scores = np.asarray(vocabulary.get("scores", no_scores)).tolist()
    merger = PieceMerger(vocabulary.ids, scores)
    prefix = " " if vocabulary.get("add_space_prefix", True) else ""

    def encode(text: str, after_token: bool) -> list[int]:
        text = prefix + text if after_token else text
        return merger.encode(text.replace(" ", "▁"))

    return encode


def _byte_level_encoder(vocabulary: _Vocabulary, pre: PreTokenizer) -> Encoder:
    """Byte-level BPE of the tokenizers library, on words as llama.cpp cuts them."""
    ids = vocabulary.ids
    merges = []
    for merge in vocabulary.get("merges"):
        space = merge.find(" ", 1)
        left, right = merge[:space], merge[space + 1 :]
        if left in ids and right in ids and left + right in ids:
            merges.append((left, right))
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=merges, ignore_merges=pre.ignore_merges)
    )
    cuts = [
        pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        for pattern in pre.patterns
    ]
    to_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_letters])

    def encode(text: str, after_token: bool) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    return encode
