"""Byte-pair encoding with the tokenizers library, of words as llama.cpp splits them.

A text is encoded in blocks, so memory does not depend on its length, only on that of
its longest word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial

import tokenizers
from tokenizers import models, pre_tokenizers

from ..errors import OptionError
from ..gguf.keys import ValueType
from .cutting import MAX_WORD, SPACES, Cutter, refuse_long_word
from .metadata import Vocabulary
from .pre_table import PreTokenizer

__all__ = [
    "Encoder",
    "byte_level_encoder",
    "plain_merge_encoder",
    "spaced_merge_encoder",
]

# (text, whether a token or the start of the text precedes it) -> token ids, in pieces.
Encoder = Callable[[str, bool], Iterator[list[int]]]

BLOCK = 1 << 16
"""Characters that are passed to the tokenizers library at a time."""
MARGIN = 1 << 11
"""Characters at the end of a block whose words may depend on the text after it."""


def byte_level_encoder(vocabulary: Vocabulary, pre: PreTokenizer) -> Encoder:
    """Byte-level BPE on words as llama.cpp splits them."""
    tokenizer = _bpe(vocabulary, pre)
    cuts = [
        pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        for pattern in pre.patterns
    ]
    to_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_letters])
    groups_digits = any("(?=" in pattern for pattern in pre.patterns)

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        if groups_digits:
            _refuse_long_numbers(text)
        start, size = 0, BLOCK
        while start + size < len(text):
            found = tokenizer.encode(text[start : start + size])
            n = _settled(found, size - MARGIN)
            if n:
                yield found.ids[:n]
                start, size = start + _first_character(found, n), BLOCK
            elif size > MAX_WORD:
                refuse_long_word(text[start : start + 32])
            else:
                size = min(2 * size, MAX_WORD + MARGIN)
        yield tokenizer.encode(text[start:]).ids

    return encode


def plain_merge_encoder(vocabulary: Vocabulary, pre: PreTokenizer) -> Encoder:
    """BPE on plain text, line by line; a run of newlines may be one token."""
    tokenizer = _bpe(vocabulary, pre)
    cutter = Cutter(vocabulary.ids)

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
                continue
            for part in cutter.words(word) if len(word) > BLOCK else [word]:
                yield tokenizer.encode([part], is_pretokenized=True).ids

    return encode


def spaced_merge_encoder(vocabulary: Vocabulary, *, lowercase: bool) -> Encoder:
    """BPE on the words of plain text between white space, which is dropped."""
    tokenizer = _bpe(vocabulary, PreTokenizer((), (), letters=False))
    cutter = Cutter(vocabulary.ids)

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        for found in re.finditer(f"[^{SPACES}]+", text):
            word = found[0]
            if lowercase:
                word = "".join(character.lower()[0] for character in word)
            for part in cutter.words(word) if len(word) > BLOCK else [word]:
                yield tokenizer.encode([part], is_pretokenized=True).ids

    return encode


def _bpe(vocabulary: Vocabulary, pre: PreTokenizer) -> tokenizers.Tokenizer:
    """The tokenizers library's BPE, without merges that involve unknown tokens."""
    ids = vocabulary.ids
    merges: dict[tuple[str, str], None] = {}  # of equal ones the first counts
    for merge in vocabulary.array("merges", ValueType.STRING):
        left, space, right = merge[1:].partition(" ")
        left = merge[:1] + left
        if space and left in ids and right in ids and left + right in ids:
            merges.setdefault((left, right))
    return tokenizers.Tokenizer(
        models.BPE(
            vocab=ids,
            merges=list(merges),
            ignore_merges=pre.ignore_merges,
            byte_fallback=not pre.letters,
        )
    )


def _refuse_long_numbers(text: str) -> None:
    """Refuse numbers whose groups of digits depend on more than the next `MARGIN`."""
    for number in re.finditer(r"\d+", text):
        if number.end() - number.start() > MARGIN:
            raise OptionError(
                f"the text has a number of more than {MARGIN} digits, from "
                f"{number[0][:32]!r} on, which this vocabulary groups from its end; "
                "use a text of words, or split the number"
            )


def _settled(found: tokenizers.Encoding, limit: int) -> int:
    """How many tokens precede the last word that starts within `limit` characters.

    Patterns look ahead but not back.  So the missing rest of the text can only change
    the last words, and a text may be split again from the start of any word.
    """
    n = bisect_right(range(len(found)), limit, key=partial(_first_character, found))
    n = max(min(n, len(found) - 1), 0)
    while n and found.token_to_word(n) == found.token_to_word(n - 1):
        n -= 1
    return n


def _first_character(found: tokenizers.Encoding, i: int) -> int:
    """The position of token i in the text."""
    span = found.token_to_chars(i)
    assert span is not None  # for mypy: only tokens of a post-processor have none
    return span[0]
