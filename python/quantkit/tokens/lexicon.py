"""Which tokens may start at a place in a text.

Memory is in proportion to the number of tokens.  A trie, or a set of all prefixes,
would need many times the size of a hostile vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import FormatError
from ..settings import shown

__all__ = ["Lexicon"]

MAX_TOKEN = 512
"""Characters of the longest token; real vocabularies have up to 128 (16 for T5)."""
START = 2
"""Characters that tokens are looked up by."""


class Lexicon:
    """The lengths of the tokens that start with the same characters.

    Args:
        tokens: the texts of tokens.

    Raises:
        FormatError: a token is so long that every text would take very long.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        found: dict[str, set[int]] = {}
        for token in tokens:
            if len(token) > MAX_TOKEN:
                raise FormatError(
                    f"the token {shown(token)} has {len(token):,} characters; in this "
                    f"type of vocabulary quantkit reads tokens of up to {MAX_TOKEN}"
                )
            if len(token) >= START:
                found.setdefault(token[:START], set()).add(len(token))
        self._lengths = {start: sorted(sizes) for start, sizes in found.items()}

    def lengths(self, text: str, at: int) -> list[int]:
        """The lengths from 2 on of tokens that may start at `at`, in rising order."""
        return self._lengths.get(text[at : at + START], [])
