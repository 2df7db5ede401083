"""The number of tokens that a model can read at a time."""

from __future__ import annotations

from ..gguf.source import ModelSource
from ..settings import COUNT, checked

__all__ = ["context_of"]


def context_of(source: ModelSource) -> int | None:
    """The length of the texts that a model was trained on, in tokens.

    None: the metadata does not say, or says 0.

    Raises:
        FormatError: the key `<architecture>.context_length` is no count.
    """
    arch = source.metadata.get("general.architecture")
    key = f"{arch.value}.context_length" if arch else ""
    field = source.metadata.get(key)
    if field is None:
        return None
    length: int = checked(field.value, COUNT, key)
    return length or None
