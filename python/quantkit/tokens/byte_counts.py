"""How many bytes of text each token stands for, to compare different vocabularies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from ..gguf.keys import Field
from ..settings import TEXT
from .decoding import Decoder
from .metadata import Vocabulary
from .token_type import TokenType

__all__ = ["byte_counts"]

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
    control = vocabulary.of_types(TokenType.CONTROL, TokenType.UNKNOWN)
    decoder = Decoder(vocabulary, control)
    found = np.array([len(decoder.piece(i)) for i in range(len(vocabulary.texts))])
    found[control] = 0
    return found
