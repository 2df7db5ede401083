"""The token types of `tokenizer.ggml.token_type`."""

from __future__ import annotations

import enum

__all__ = ["TokenType"]


class TokenType(enum.IntEnum):
    """The type of a token, a value of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6
