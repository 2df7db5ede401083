"""PLaMo's tokenizer: the split with the highest sum of scores, found from the end.

Characters without a token become byte tokens, at a high price.  Source: the behaviour
of llama.cpp's tokenizer for `plamo2` vocabularies (llama-vocab.cpp), which follows the
one of PLaMo 2.  Two of its traits decide between splits that other tokenizers would not
tell apart: scores are integers, ten thousandths, and of equal splits it takes the one
with the longest first token.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import FormatError
from .cutting import Cutter, split_once

__all__ = ["PlamoSplitter"]

UNIT = 1e4
UNKNOWN, UNUSABLE = -10_000_000, -20_000_000
"""The score of a character without a token, and of what is no token."""
BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
MARK = "\ufeff"
MAX_SQUARES = 1 << 27
"""The largest sum of squares of token lengths, in which memory is; real vocabularies
have a hundredth of it."""


@dataclass(frozen=True)
class Row:
    """A start of a known string: a token, or only the end of one.

    Attributes:
        text: the characters.
        token: the id of the token, or None.
        score: an integer; of the empty row `UNKNOWN`.
    """

    text: str
    token: int | None
    score: int

    @property
    def length(self) -> int:
        """How many characters it takes of a text."""
        return max(1, len(self.text))


EMPTY = Row("", None, UNKNOWN)


class PlamoSplitter:
    """Split text into the tokens of a `plamo2` vocabulary.

    Args:
        texts: the tokens' texts by id.
        scores: their scores.
        bytes_: the ids of the tokens that stand for single bytes.

    Raises:
        FormatError: a byte has no token, or tokens are too long.
    """

    def __init__(
        self, texts: Sequence[str], scores: Sequence[float], bytes_: Sequence[int]
    ) -> None:
        _refuse_long(texts)
        of_bytes = set(bytes_)
        self._bytes = _byte_tokens(texts, bytes_)
        self._ids = {text: i for i, text in enumerate(texts)}
        self._known: dict[str, int] = {}
        for i, text in enumerate(texts):
            if i not in of_bytes:
                self._known[text] = _as_integer(scores[i])
                for start in range(1, len(text)):
                    self._known.setdefault(text[start:], UNUSABLE)
        self._rows: dict[str, list[Row]] = {"": [EMPTY]}
        self._cutter = Cutter(self._known)
        self._starts = {t[:1] for t, score in self._known.items() if score == UNKNOWN}

    def encode(self, text: str) -> Iterator[list[int]]:
        """The token ids of a text, in pieces; a byte-order mark is left out.

        Raises:
            OptionError: a part that must be split as a whole is too long.
        """
        return split_once(self._words(text.removeprefix(MARK)), self._split)

    def _words(self, text: str) -> Iterator[str]:
        """The parts that can be split by themselves.

        A token whose score is that of an unknown character hides what starts at the
        character before it, so it stays with that.
        """
        whole = ""
        for word in self._cutter.words(text):
            if whole and word[0] not in self._starts:
                yield whole
                whole = ""
            whole += word
        if whole:
            yield whole

    def _split(self, word: str) -> list[int]:
        return [i for row, at in self._best(word) for i in self._tokens(row, word[at])]

    def _best(self, text: str) -> list[tuple[Row, int]]:
        """The rows of the best split, and where each starts."""
        n = len(text)
        costs, first = [0] * (n + 1), [EMPTY] * n
        seen = ""
        for at in range(n - 1, -1, -1):
            seen = self._longest(text[at], seen)
            least = 1 << 60
            for row in self._rows_of(seen):
                if row.score > UNUSABLE:
                    cost = costs[at + row.length] - row.score
                    if cost < least:
                        least, first[at] = cost, row
                if row.score == UNKNOWN:
                    break
            costs[at] = least
        path, at = [], 0
        while at < n:
            path.append((first[at], at))
            at += first[at].length
        return path

    def _longest(self, character: str, seen: str) -> str:
        """The longest known string that starts here, from that of the next place."""
        for row in self._rows_of(seen):
            if character + row.text in self._known:
                return character + row.text
            if row.score == UNKNOWN:
                break
        return ""

    def _rows_of(self, string: str) -> list[Row]:
        """The known starts of a known string, the longest first; then the empty one."""
        if (rows := self._rows.get(string)) is None:
            rows = [
                Row(text, self._ids.get(text), self._known[text])
                for text in (string[:n] for n in range(len(string), 0, -1))
                if text in self._known
            ]
            rows.append(EMPTY)
            self._rows[string] = rows
        return rows

    def _tokens(self, row: Row, character: str) -> list[int]:
        if row.token is not None:
            return [row.token]
        return [self._bytes[byte] for byte in character.encode()]


def _refuse_long(texts: Sequence[str]) -> None:
    """Refuse tokens whose ends would take too much memory.

    Raises:
        FormatError: they would.
    """
    if sum(len(text) ** 2 for text in texts) > MAX_SQUARES:
        raise FormatError(
            f"the vocabulary has tokens of up to {max(map(len, texts)):,} characters, "
            "too many long ones for a real one of PLaMo; the file is damaged"
        )


def _as_integer(score: float) -> int:
    """A score in units, rounded half away from zero."""
    scaled = abs(score) * UNIT
    whole = math.floor(scaled)
    return int(math.copysign(whole + (scaled - whole >= 0.5), score))


def _byte_tokens(texts: Sequence[str], ids: Sequence[int]) -> Mapping[int, int]:
    """The token of each byte.

    Raises:
        FormatError: one has none; readers do not load such files.
    """
    found = {int(match[1], 16): i for i in ids if (match := BYTE.fullmatch(texts[i]))}
    missing = next((byte for byte in range(256) if not found.get(byte)), None)
    if missing is not None:
        raise FormatError(
            f"the vocabulary has no token '<0x{missing:02X}>' of the type BYTE; "
            "PLaMo's tokenizer needs one for each byte, with an id above 0"
        )
    return found
