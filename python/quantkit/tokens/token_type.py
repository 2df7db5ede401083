"""The types of tokens that `tokenizer.ggml.token_type` tells apart."""

from __future__ import annotations

import enum

__all__ = ["TokenType"]


class TokenType(enum.IntEnum):
    """What a token is, as `tokenizer.ggml.token_type` says it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6
