"""Read the `tokenizer.ggml.*` metadata of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import Field
from .token_type import TokenType

__all__ = ["Vocabulary"]


class Vocabulary:
    """A model's tokens and the metadata about them.

    Attributes:
        texts: token texts by id.
        ids: token ids by text.
    """

    def __init__(self, metadata: Mapping[str, Field]) -> None:
        self._metadata = metadata
        if self.get("model", "") in ("none", "no_vocab"):
            raise UnsupportedModelError(
                "the file was written without a vocabulary (tokenizer.ggml.model is "
                "'none'), so text cannot be tokenized; convert the model again"
            )
        self.texts: list[str] = [
            text or f"[EMPTY_{i}]" for i, text in enumerate(self.get("tokens"))
        ]
        self.ids = {text: i for i, text in enumerate(self.texts)}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.<key>`; required if there is no default."""
        field = self._metadata.get(f"tokenizer.ggml.{key}")
        if field is None and default is None:
            raise FormatError(
                f"the metadata lacks tokenizer.ggml.{key}; it is needed to tokenize "
                "text"
            )
        return default if field is None else field.value

    def special(self, role: str, default: int | None) -> int | None:
        """The id of the special token with this role, or None if there is none."""
        i = int(self.get(f"{role}_token_id", -1 if default is None else default))
        return i if 0 <= i < len(self.texts) else None

    def user_defined(self) -> list[str]:
        """The texts of the user-defined tokens."""
        return [self.texts[i] for i in self.of_types(TokenType.USER_DEFINED)]

    def of_types(self, *types: TokenType) -> list[int]:
        """The ids of the tokens with one of these types."""
        normal = np.full(len(self.texts), TokenType.NORMAL, dtype=np.int32)
        given = np.asarray(self.get("token_type", normal))
        places: list[int] = np.flatnonzero(np.isin(given, types)).tolist()
        return places

    def scores(self) -> list[float]:
        """The score of each token; 0 if the metadata has none."""
        values: list[float] = np.asarray(
            self.get("scores", np.zeros(len(self.texts)))
        ).tolist()
        return values
