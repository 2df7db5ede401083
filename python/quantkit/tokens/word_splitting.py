"""WordPiece tokenization as in llama.cpp: the longest matching token comes first.

Source: the behaviour of llama.cpp's tokenizer for `bert` vocabularies
(llama-vocab.cpp).  Stripping accents replaces a character by the first character of its
decomposition, so a Korean syllable is reduced to its first letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from .cutting import MAX_WORD, SPACES, refuse_long_word, split_once
from .lexicon import Lexicon

__all__ = ["WordSplitter"]

BLOCK = 1 << 16
"""Characters that are normalized at a time."""

# Each Chinese character is a separate word.
_CHINESE = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class WordSplitter:
    """Split text into the tokens of a WordPiece vocabulary.

    Args:
        ids: token ids by text; "▁" marks the start of a word.
        unknown: the id of the token for a word that no tokens match.
        lowercase: whether to lowercase the text first.
        strip_accents: whether to strip accents first.
    """

    def __init__(
        self, ids: Mapping[str, int], unknown: int, lowercase: bool, strip_accents: bool
    ) -> None:
        self._ids = ids
        self._unknown = unknown
        self._lowercase = lowercase
        self._strip_accents = strip_accents
        self._lexicon = Lexicon(ids)
        self._spacings: dict[str, str] = {}

    def encode(self, text: str) -> Iterator[list[int]]:
        """The token ids of each word of a text.

        Raises:
            OptionError: a word is longer than `MAX_WORD`.
        """
        return split_once(self._words(text), self._split)

    def _words(self, text: str) -> Iterator[str]:
        """The words of a text, each with "▁" before it."""
        rest = ""
        for start in range(0, len(text), BLOCK):
            spaced = map(self._spaced, text[start : start + BLOCK])
            *words, rest = (rest + "".join(spaced)).split(" ")
            yield from ("▁" + word for word in words if word)
            if len(rest) > MAX_WORD:
                refuse_long_word(rest[:32])
        if rest:
            yield "▁" + rest

    def _spaced(self, character: str) -> str:
        """A normalized character, between spaces if it is a word by itself."""
        spaced = self._spacings.get(character)
        if spaced is None:
            spaced = self._spacings[character] = self._spacing(character)
        return spaced

    def _spacing(self, character: str) -> str:
        if self._strip_accents:
            character = unicodedata.normalize("NFD", character)[0]
        if character in SPACES:
            return " "
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Co", "Cs") or character in "\0\ufffd":
            return ""
        if self._strip_accents and category.startswith("M"):
            return ""
        written = character.lower()[0] if self._lowercase else character
        alone = category.startswith("P") or _is_chinese(character)
        if alone or (category.startswith("S") and character < "\x7f"):
            return f" {written} "
        return written

    def _split(self, word: str) -> list[int]:
        """The tokens of a word, longest match first; or the unknown token."""
        ids = []
        at = 0
        while at < len(word):
            for size in (*reversed(self._lexicon.lengths(word, at)), 1):
                i = self._ids.get(word[at : at + size])
                if i is not None and at + size <= len(word):
                    break
            else:
                return [self._unknown]
            ids.append(i)
            at += size
        return ids


def _is_chinese(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _CHINESE)
