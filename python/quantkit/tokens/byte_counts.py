"""How many bytes of text each token stands for, to compare different vocabularies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from ..gguf.keys import Field
from ..settings import TEXT
from .metadata import Vocabulary
from .token_type import TokenType

__all__ = ["byte_counts"]

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What stands for a space in vocabularies of SentencePiece."""

LETTERS = 0x144
"""GPT-2 writes bytes as characters below this one: bytes_to_unicode in its encoder.py,
https://github.com/openai/gpt-2/blob/master/src/encoder.py"""

KINDS = ("gpt2", "llama", "t5", "gemma4", "plamo2")


def byte_counts(metadata: Mapping[str, Field]) -> NDArray[np.int64]:
    """Bytes of text per token: int64 [vocabulary]; 0 for control tokens.

    Raises:
        FormatError: the metadata is damaged.
        UnsupportedModelError: tokens of such vocabularies are no pieces of the text.
    """
    vocabulary = Vocabulary(metadata)
    kind = vocabulary.get("model", TEXT, "")
    if kind not in KINDS:
        raise UnsupportedModelError(
            f"a vocabulary of kind {kind!r} does not say how many bytes a token stands "
            "for, so models cannot be compared by bits per byte"
        )
    user_defined = set(vocabulary.of_types(TokenType.USER_DEFINED))
    counts = [
        _of_text(text, is_byte_level=kind == "gpt2" and i not in user_defined)
        for i, text in enumerate(vocabulary.texts)
    ]
    found = np.array(counts, np.int64)
    found[vocabulary.of_types(TokenType.BYTE)] = 1
    found[vocabulary.of_types(TokenType.CONTROL, TokenType.UNKNOWN)] = 0
    return found


def _of_text(text: str, *, is_byte_level: bool) -> int:
    if is_byte_level and all(ord(letter) < LETTERS for letter in text):
        return len(text)
    return len(text.replace(SPACE, " ").encode(errors="surrogatepass"))
