"""mmBERT's added tokens for runs of spaces, which its tokenizer never uses.

Readers would look for them in a text before anything else.  Source: llama.cpp's
converter of ModernBERT.
"""

from __future__ import annotations

import numpy as np

from ..gguf.keys import Field, ValueType, array
from ..tokens.token_type import TokenType

__all__ = ["with_unused_space_runs"]

PRE, TOKENS, TYPES = (f"tokenizer.ggml.{x}" for x in ("pre", "tokens", "token_type"))
MMBERT, SPACE = "mmbert", "▁"


def with_unused_space_runs(fields: dict[str, Field]) -> dict[str, Field]:
    """The fields with these tokens as normal ones, spelled as no text is."""
    if PRE not in fields or fields[PRE].value != MMBERT:
        return fields
    texts, kinds = list(fields[TOKENS].value), np.array(fields[TYPES].value)
    for i in np.flatnonzero(kinds == TokenType.USER_DEFINED).tolist():
        if texts[i] and not texts[i].strip(" "):
            texts[i], kinds[i] = SPACE * len(texts[i]), TokenType.NORMAL
    changed = {
        TOKENS: array(ValueType.STRING, texts),
        TYPES: array(ValueType.INT32, kinds.astype(np.int32)),
    }
    return {key: changed.get(key, field) for key, field in fields.items()}
