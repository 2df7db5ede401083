"""Tokenize text with the vocabulary in a GGUF file; the ids are llama.cpp's.

The text of a control token, such as "<s>", is plain text unless `parse_special` is set.

Sources: the behaviour of llama.cpp's tokenizers for the vocabulary types `llama`,
`gpt2`, `gemma4`, `t5`, `bert`, `rwkv` and `plamo2` (llama-vocab.cpp).  Byte-level BPE
may differ for characters added after Unicode 15, which the tokenizers library knows and
llama.cpp does not.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from operator import add

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..display import Displayed
from ..errors import OptionError
from ..gguf.keys import Field
from ..parameters import check_flags
from .decoding import Decoder
from .encoders import Encoder, encoder_of
from .metadata import Vocabulary
from .token_row import token_row
from .token_type import TokenType

__all__ = ["Tokenizer"]

# Texts that llama.cpp treats as control tokens, whatever their type.
_CONTROL = re.compile(
    r"<\|(eot_id|eom_id|im_end|end|endoftext|end_of_text|return|calls?|flush)\|>"
    r"|<(end_of_turn|end_of_utterance|eos|/s|PAD|REPO|reponame|fim-repo)>"
    r"|_?<EOT>|\[(EOT|EOS|PAD)\]|▁?<(PRE|SUF|MID)>"
    r"|<\|(fim_(prefix|suffix|middle|pad|repo)|repo_name|file_sep)\|>"
    r"|<turn\|>|<\|tool_response>|\[e~\["
    r"|<fim[-_](prefix|suffix|middle|pad)>|<\|(code_)?(prefix|suffix|middle)\|>"
    "|<\uff5c(end▁of▁sentence|fim▁(begin|hole|end))\uff5c>"
)
# Texts that it treats as user-defined tokens; the last one only if the vocabulary also
# has one of these pairs.
_PLAIN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
_PLAIN_BESIDE = (
    "<|end|>",
    (
        {"<|return|>", "<|call|>"},
        {"<|return|>", "<|calls|>"},
        {"<|flush|>", "<|call|>"},
        {"<|flush|>", "<|calls|>"},
    ),
)
# Models with these names drop whitespace after user-defined tokens, except after those
# in _NOT_STRIPPING.
_STRIPPING = ("phi-3", "phi3")
_NOT_STRIPPING = ("<unk>", "<s>", "<|endoftext|>")
MANY = 64
"""A text is searched for so many tokens one by one.

Of more, such as Gemma's 6000 user-defined ones, those that it has are found first.
"""

Marks = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Tokenizer(Displayed):
    """Turn text into token ids, and back; safe to use from several threads.

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
        >>> tokenizer.decode([1, 15043])  # doctest: +SKIP
        'Hello'
    """

    bos_id: int | None
    eos_id: int | None
    add_bos: bool
    add_eos: bool
    vocab_size: int
    _special: Marks
    _user_defined: Marks
    _stripping: frozenset[int]
    _encoder: Encoder
    _vocabulary: Vocabulary

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Field]) -> Tokenizer:
        """Build the tokenizer from a GGUF file's `tokenizer.*` metadata.

        Raises:
            OptionError: `metadata` is not Fields by key.
            FormatError: a key is missing or damaged.
            UnsupportedModelError: the vocabulary type or the pre-tokenizer is unknown.
        """
        if not isinstance(metadata, Mapping) or not all(
            isinstance(field, Field) for field in metadata.values()
        ):
            raise OptionError(
                f"`metadata` is of type {type(metadata).__name__}; expected Fields by "
                "key, such as GGUFFile(path).metadata"
            )
        vocabulary = Vocabulary(metadata)
        encoder, ends = encoder_of(vocabulary)
        user_defined = _user_defined(vocabulary)
        return cls(
            bos_id=ends.bos_id,
            eos_id=ends.eos_id,
            add_bos=ends.add_bos,
            add_eos=ends.add_eos,
            vocab_size=len(vocabulary.texts),
            _special=_special(vocabulary, user_defined),
            _user_defined=user_defined,
            _stripping=_stripping(metadata, user_defined),
            _encoder=encoder,
            _vocabulary=vocabulary,
        )

    def encode(
        self, text: str, add_special: bool = True, parse_special: bool = False
    ) -> NDArray[np.int32]:
        """The token ids of `text`: int32 [n]; arguments and errors as for `pieces`."""
        ids = array("i")
        for piece in self.pieces(text, add_special, parse_special):
            ids.extend(piece)
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: ArrayLike, special: bool = False) -> str:
        """The text of tokens, such as those of `encode`.

        The space that `encode` puts before a text is dropped again; other changes that
        a vocabulary makes, such as to lower case, stay.  Bytes that are not UTF-8
        become U+FFFD.

        Args:
            ids: a row of token ids.
            special: also show control tokens, such as BOS, by their texts.

        Raises:
            ShapeError: `ids` is not a row of ids of this vocabulary.
        """
        check_flags(special=special)
        if isinstance(ids, Sized) and not len(ids):
            return ""
        row = token_row(ids, self.vocab_size).tolist()
        return self._decoder.decode(row, special).decode("utf-8", "replace")

    @cached_property
    def _decoder(self) -> Decoder:
        marked = {i for _, i in self._special} - {i for _, i in self._user_defined}
        kinds = TokenType.CONTROL, TokenType.UNKNOWN
        return Decoder(
            self._vocabulary, marked | set(self._vocabulary.of_types(*kinds))
        )

    def pieces(
        self, text: str, add_special: bool = True, parse_special: bool = False
    ) -> Iterator[list[int]]:
        """Generate the token ids of `text` in pieces.

        Args:
            text: any text.
            add_special: add BOS and EOS if the model requires them.
            parse_special: turn the texts of control tokens into those tokens, as for a
                rendered chat template; otherwise they are plain text.

        Raises:
            OptionError: `text` is not a str, or holds a lone surrogate.
        """
        _refuse_no_text(text)
        check_flags(add_special=add_special, parse_special=parse_special)
        if add_special and self.add_bos and self.bos_id is not None:
            yield [self.bos_id]
        after_token = True
        marks = self._special if parse_special else self._user_defined
        if len(marks) > MANY:
            marks = _occurring_in(text, marks)
        for part in self._parts(text, marks):
            if isinstance(part, int):
                yield [part]
            else:
                yield from self._encoder(part, after_token)
            after_token = isinstance(part, int)
        if add_special and self.add_eos and self.eos_id is not None:
            yield [self.eos_id]

    def _parts(self, text: str, marks: Marks) -> list[str | int]:
        """The text split at the tokens in `marks`, with their ids in place."""
        parts: list[str | int] = [text] if text else []
        for token, i in marks:
            if token in text:
                strips = i in self._stripping
                parts = [
                    piece for part in parts for piece in _cut(part, token, i, strips)
                ]
        return parts


def _refuse_no_text(text: str) -> None:
    if not isinstance(text, str):
        raise OptionError(f"`text` is of type {type(text).__name__}; expected a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            f"`text` has half of a character (a lone surrogate) at {error.start}, "
            f"which no UTF-8 file can hold: {text[error.start]!r}"
        ) from None


def _occurring_in(text: str, marks: Marks) -> Marks:
    """The marks that the text may have, in their order; most of many are left out."""
    pairs = set(map(add, text, text[1:])) | set(text)
    likely = [mark for mark in marks if mark[0][:2] in pairs]
    found = set(_with_known_starts(text, likely, 4))
    return tuple(mark for mark in likely if mark in found)


def _with_known_starts(
    text: str, marks: Sequence[tuple[str, int]], size: int
) -> Iterator[tuple[str, int]]:
    """The marks whose start is in the text; marks with equal starts need one search."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for mark in marks:
        groups.setdefault(mark[0][:size], []).append(mark)
    for start, group in groups.items():
        if start not in text:
            continue
        if len(group) == 1:
            yield from group
        else:
            yield from _with_known_starts(text, group, 2 * size)


def _cut(part: str | int, token: str, i: int, strips: bool) -> Iterator[str | int]:
    """Replace the text `token` by its id `i` in a part of a text."""
    if isinstance(part, int):
        yield part
        return
    first, *others = part.split(token)
    if first:
        yield first
    for other in others:
        yield i
        if rest := other.lstrip(" \t\n\v\f\r") if strips else other:
            yield rest


def _user_defined(vocabulary: Vocabulary) -> Marks:
    """Tokens that are matched before the rest of a text is split, longest first."""
    texts = [text for text in vocabulary.user_defined() if not _CONTROL.fullmatch(text)]
    plain = list(_PLAIN)
    text, beside = _PLAIN_BESIDE
    if any(others <= vocabulary.ids.keys() for others in beside):
        plain.append(text)
    texts += [text for text in plain if text in vocabulary.ids and text not in texts]
    marks = {text: vocabulary.ids[text] for text in texts if text in vocabulary.ids}
    return _longest_first(marks)


def _special(vocabulary: Vocabulary, user_defined: Marks) -> Marks:
    """The user-defined tokens and the control tokens, longest first."""
    marks = dict(user_defined)
    kinds = TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED
    texts = (vocabulary.texts[i] for i in vocabulary.of_types(*kinds))
    marks |= {text: vocabulary.ids[text] for text in texts if text in vocabulary.ids}
    return _longest_first(marks)


def _longest_first(marks: Mapping[str, int]) -> Marks:
    return tuple(sorted(marks.items(), key=lambda mark: -len(mark[0].encode())))


def _stripping(metadata: Mapping[str, Field], user_defined: Marks) -> frozenset[int]:
    """The user-defined tokens after which whitespace is dropped."""
    name = metadata.get("general.name")
    named = name.value.lower() if name and isinstance(name.value, str) else ""
    if not any(part in named for part in _STRIPPING):
        return frozenset()
    return frozenset(i for text, i in user_defined if text not in _NOT_STRIPPING)
