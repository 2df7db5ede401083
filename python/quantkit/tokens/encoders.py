"""How each vocabulary type encodes text, and the tokens that start and end a text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from ..errors import UnsupportedModelError
from .charsmap import CharacterMap
from .merging import PieceMerger
from .metadata import Vocabulary
from .pre_table import PreTokenizer, pre_tokenizer_named
from .token_type import TokenType
from .viterbi import UnigramSplitter
from .word_splitting import WordSplitter

__all__ = ["Encoder", "Ends", "encoder_of"]

# (text, whether a token or the start of the text precedes it) -> token ids, in pieces.
Encoder = Callable[[str, bool], Iterator[list[int]]]

BLOCK = 1 << 16
"""Characters that are passed to the tokenizers library at a time."""
MARGIN = 1 << 11
"""Characters at the end of a block whose words may depend on the text after it."""


@dataclass(frozen=True)
class Ends:
    """The tokens that start and end a text.

    Attributes:
        bos_id: the token that starts a text, if there is one.
        eos_id: the token that ends a text, if there is one.
        add_bos: whether every text starts with `bos_id`.
        add_eos: whether every text ends with `eos_id`.
    """

    bos_id: int | None
    eos_id: int | None
    add_bos: bool
    add_eos: bool


def encoder_of(vocabulary: Vocabulary) -> tuple[Encoder, Ends]:
    """The encoder for a vocabulary.

    Raises:
        FormatError: a key is missing or damaged.
        UnsupportedModelError: the vocabulary type or the pre-tokenizer is unknown.
    """
    kind = vocabulary.get("model")
    match kind:
        case "llama":
            ends = _ends(vocabulary, bos=1, eos=2, add_bos=True)
            return _piece_encoder(vocabulary), ends
        case "gpt2":
            pre = pre_tokenizer_named(vocabulary.get("pre", "default"))
            bos = 11 if pre.has_bos else None
            ends = _ends(vocabulary, bos=bos, eos=11, add_bos=pre.add_bos)
            return _merge_encoder(vocabulary, pre, ends)
        case "gemma4":
            pre = pre_tokenizer_named(kind)
            return _merge_encoder(vocabulary, pre, _ends(vocabulary))
        case "t5":
            return _unigram_encoder(vocabulary), _ends(vocabulary, eos=1, add_eos=True)
        case "bert":
            first = vocabulary.special("bos", 101)
            last = vocabulary.special("seperator", 102)
            return _word_encoder(vocabulary), Ends(first, last, True, True)
    raise UnsupportedModelError(
        f"the vocabulary has the type {kind!r}; quantkit reads 'llama' "
        "(SentencePiece), 'gpt2' and 'gemma4' (BPE), 't5' (unigram) and 'bert' "
        "(WordPiece)"
    )


def _ends(
    vocabulary: Vocabulary,
    bos: int | None = None,
    eos: int | None = None,
    add_bos: bool = False,
    add_eos: bool = False,
) -> Ends:
    """The metadata's values; the arguments are the defaults."""
    return Ends(
        bos_id=vocabulary.special("bos", bos),
        eos_id=vocabulary.special("eos", eos),
        add_bos=bool(vocabulary.get("add_bos_token", add_bos)),
        add_eos=bool(vocabulary.get("add_eos_token", add_eos)),
    )


def _piece_encoder(vocabulary: Vocabulary) -> Encoder:
    """SentencePiece's BPE; a space is prepended at the start and after each token."""
    merger = PieceMerger(vocabulary.ids, vocabulary.scores())
    prefix = " " if vocabulary.get("add_space_prefix", True) else ""

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        text = prefix + text if after_token else text
        return merger.encode(text.replace(" ", "▁"))

    return encode


def _merge_encoder(
    vocabulary: Vocabulary, pre: PreTokenizer, ends: Ends
) -> tuple[Encoder, Ends]:
    """BPE on words, byte-level or plain as the pre-tokenizer says."""
    if pre.always_bos:
        ends = replace(ends, add_bos=True)
    if pre.letters:
        return _byte_level_encoder(vocabulary, pre), ends
    return _plain_merge_encoder(vocabulary, pre), ends


def _bpe(vocabulary: Vocabulary, pre: PreTokenizer) -> tokenizers.Tokenizer:
    """The tokenizers library's BPE, without merges that involve unknown tokens."""
    ids = vocabulary.ids
    merges = []
    for merge in vocabulary.get("merges"):
        space = merge.find(" ", 1)
        left, right = merge[:space], merge[space + 1 :]
        if left in ids and right in ids and left + right in ids:
            merges.append((left, right))
    return tokenizers.Tokenizer(
        models.BPE(
            vocab=ids,
            merges=merges,
            ignore_merges=pre.ignore_merges,
            byte_fallback=not pre.letters,
        )
    )


def _byte_level_encoder(vocabulary: Vocabulary, pre: PreTokenizer) -> Encoder:
    """Byte-level BPE on words as llama.cpp splits them."""
    tokenizer = _bpe(vocabulary, pre)
    cuts = [
        pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        for pattern in pre.patterns
    ]
    to_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_letters])

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        start, size = 0, BLOCK
        while start + size < len(text):
            found = tokenizer.encode(text[start : start + size])
            n = _settled(found, size - MARGIN)
            if n:
                yield found.ids[:n]
                start, size = start + _first_character(found, n), BLOCK
            else:
                size *= 2
        yield tokenizer.encode(text[start:]).ids

    return encode


def _settled(found: tokenizers.Encoding, limit: int) -> int:
    """How many tokens precede the last word that starts within `limit` characters.

    Patterns look ahead but not back.  So the missing rest of the text can only change
    the last words, and a text may be split again from the start of any word.
    """
    n = bisect_right(range(len(found)), limit, key=partial(_first_character, found))
    n = min(n, len(found) - 1)
    while n and found.token_to_word(n) == found.token_to_word(n - 1):
        n -= 1
    return n


def _first_character(found: tokenizers.Encoding, i: int) -> int:
    """The position of token i in the text."""
    span = found.token_to_chars(i)
    assert span is not None  # for mypy: only tokens of a post-processor have none
    return span[0]


def _plain_merge_encoder(vocabulary: Vocabulary, pre: PreTokenizer) -> Encoder:
    """BPE on plain text, line by line; a run of newlines may be one token."""
    tokenizer = _bpe(vocabulary, pre)

    def words(text: str) -> Iterator[str]:
        for found in re.finditer(r"[^\n]+|\n+", text.replace(" ", "▁")):
            line = found[0]
            if pre.word_starts and not line.startswith("\n"):
                line = line if line.startswith("▁") else "▁" + line
                yield from re.findall("▁[^▁]*", line)
            else:
                yield line

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        for word in words(text):
            whole = vocabulary.ids.get(word) if pre.whole_line_ends else None
            if word.startswith("\n") and whole is not None:
                yield [whole]
            else:
                yield tokenizer.encode([word], is_pretokenized=True).ids

    return encode


def _unigram_encoder(vocabulary: Vocabulary) -> Encoder:
    """Unigram on text that is normalized by SentencePiece's rules."""
    scores = vocabulary.scores()
    normal = vocabulary.of_types(TokenType.NORMAL)
    user_defined = vocabulary.of_types(TokenType.USER_DEFINED)
    usable = [*normal, *user_defined, *vocabulary.of_types(TokenType.UNUSED)]
    splitter = UnigramSplitter(
        {i: scores[i] for i in usable} | dict.fromkeys(user_defined, 0.0),
        {vocabulary.texts[i]: i for i in sorted(usable)},
        min((scores[i] for i in normal), default=0.0),
        vocabulary.special("unknown", 2) or 0,
    )
    compiled = np.asarray(vocabulary.get("precompiled_charsmap", []), dtype=np.uint8)
    characters = CharacterMap(compiled.tobytes()) if compiled.size else None
    adds_space = bool(vocabulary.get("add_space_prefix", False))
    merges_spaces = bool(vocabulary.get("remove_extra_whitespaces", False))

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        if characters is not None:
            text = characters.normalize(text)
        if merges_spaces:
            text = "".join(" " + word for word in text.split(" ") if word)
        elif adds_space and text.strip(" "):
            text = " " + text
        return splitter.encode(text.replace(" ", "▁"))

    return encode


def _word_encoder(vocabulary: Vocabulary) -> Encoder:
    """WordPiece."""
    lowercase = bool(vocabulary.get("normalizer.lowercase", True))
    splitter = WordSplitter(
        vocabulary.ids,
        vocabulary.special("unknown", 100) or 0,
        lowercase,
        bool(vocabulary.get("normalizer.strip_accents", lowercase)),
    )

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        yield splitter.encode(text)

    return encode
