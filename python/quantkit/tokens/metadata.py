"""Read the `tokenizer.ggml.*` metadata of a GGUF file.

Nothing in it is believed: types, lengths and ids are checked.  Source of what is valid:
the checks in llama.cpp's llama-vocab.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import Field, ValueType
from ..settings import TEXT, Kind, checked, integer, shown
from .token_type import TokenType

__all__ = ["Vocabulary"]

PREFIX = "tokenizer.ggml."
TOKEN_ID = integer(-1, 2**32 - 1)
NO_TOKEN = (-1, 2**32 - 1)
"""The ids that mean "no token": llama.cpp's -1, also as a uint32."""
AGAIN = "the file is damaged; download it, or convert the model, again"


class Vocabulary:
    """A model's tokens and the metadata about them.

    Attributes:
        texts: token texts by id.
        ids: token ids by text, without those that are not UTF-8: no text has them.

    Raises:
        FormatError: the tokens are missing or damaged.
        UnsupportedModelError: the file was written without a vocabulary.
    """

    def __init__(self, metadata: Mapping[str, Field]) -> None:
        self._metadata = metadata
        if self.get("model", TEXT, "") in ("none", "no_vocab"):
            raise UnsupportedModelError(
                "the file was written without a vocabulary (tokenizer.ggml.model is "
                "'none'), so text cannot be tokenized; convert the model again"
            )
        tokens = self.array("tokens", ValueType.STRING)
        if not len(tokens):
            raise FormatError(f"{PREFIX}tokens is empty; {AGAIN}")
        self.texts: list[str] = [
            text or f"[EMPTY_{i}]" for i, text in enumerate(tokens)
        ]
        ids = {text: i for i, text in enumerate(self.texts)}
        if len(ids) < len(self.texts):
            self._refuse_equal_tokens(ids)
        self.ids = ids if _is_utf8("".join(self.texts)) else _only_utf8(ids)

    def get(self, key: str, kind: Kind, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.<key>`; required if there is no default.

        Raises:
            FormatError: it is missing, or not of the kind.
        """
        field = self._field(key, required=default is None)
        if field is None:
            return default
        return checked(field.value, kind, PREFIX + key)

    def array(self, key: str, *types: ValueType, default: Any = None) -> Any:
        """The array `tokenizer.ggml.<key>`; required if there is no default.

        Raises:
            FormatError: it is missing, or its items have none of the types.
        """
        field = self._field(key, required=default is None)
        if field is None:
            return default
        if field.type is not ValueType.ARRAY or field.item_type not in types:
            found = shown(field.value)
            if field.type is ValueType.ARRAY and field.item_type is not None:
                found = f"an array of {field.item_type.name}"
            expected = " or ".join(each.name for each in types)
            raise FormatError(
                f"{PREFIX}{key} is {found}; expected an array of {expected}"
            )
        return field.value

    def special(self, role: str, default: int | None) -> int | None:
        """The id of the special token with this role, or None if there is none.

        Raises:
            FormatError: the metadata has an id beyond the vocabulary.
        """
        key = f"{role}_token_id"
        i: int = self.get(key, TOKEN_ID, NO_TOKEN[0])
        if i in NO_TOKEN:
            i = -1 if default is None or PREFIX + key in self._metadata else default
            return i if 0 <= i < len(self.texts) else None
        if i >= len(self.texts):
            raise FormatError(
                f"{PREFIX}{key} is {i}, but the vocabulary has {len(self.texts)} "
                f"tokens; {AGAIN}"
            )
        return i

    def user_defined(self) -> list[str]:
        """The texts of the user-defined tokens."""
        return [self.texts[i] for i in self.of_types(TokenType.USER_DEFINED)]

    def of_types(self, *types: TokenType) -> list[int]:
        """The ids of the tokens with one of these types.

        Raises:
            FormatError: the metadata lacks the types of some tokens.
        """
        normal = np.full(len(self.texts), TokenType.NORMAL, dtype=np.int32)
        given = self._for_each_token("token_type", normal, ValueType.INT32)
        places: list[int] = np.flatnonzero(np.isin(given, types)).tolist()
        return places

    def scores(self) -> list[float]:
        """The score of each token; 0 if the metadata has none.

        Raises:
            FormatError: the metadata lacks some scores, or they are not finite.
        """
        none = np.zeros(len(self.texts), dtype=np.float32)
        types = ValueType.FLOAT32, ValueType.INT32
        given = self._for_each_token("scores", none, *types)
        if not np.isfinite(given).all():
            i = int(np.flatnonzero(~np.isfinite(given))[0])
            raise FormatError(
                f"{PREFIX}scores has {given[i]} for token {i} "
                f"({shown(self.texts[i])}); expected finite numbers; {AGAIN}"
            )
        values: list[float] = given.tolist()
        return values

    def _field(self, key: str, required: bool) -> Field | None:
        field = self._metadata.get(PREFIX + key)
        if field is None and required:
            raise FormatError(
                f"the metadata lacks {PREFIX}{key}; it is needed to tokenize text"
            )
        return field

    def _for_each_token(
        self, key: str, default: NDArray[Any], *types: ValueType
    ) -> NDArray[Any]:
        """An array with a number for each token."""
        values = np.asarray(self.array(key, *types, default=default))
        if len(values) < len(self.texts):
            raise FormatError(
                f"{PREFIX}{key} has {len(values)} items for {len(self.texts)} tokens; "
                f"{AGAIN}"
            )
        return values[: len(self.texts)]

    def _refuse_equal_tokens(self, last: Mapping[str, int]) -> None:
        i, text = next((i, t) for i, t in enumerate(self.texts) if last[t] != i)
        raise FormatError(
            f"tokens {i} and {last[text]} of the vocabulary have the same text "
            f"{shown(text)}; each token needs a text of its own; {AGAIN}"
        )


def _is_utf8(text: str) -> bool:
    """Whether the text has no lone surrogate, which stands for another byte."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _only_utf8(ids: Mapping[str, int]) -> dict[str, int]:
    return {text: i for text, i in ids.items() if _is_utf8(text)}
