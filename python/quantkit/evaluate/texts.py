"""What models are measured on: plain text, JSONL documents, conversations.

A text is one or more documents.  Plain text is one; a file called *.jsonl has one on
each line, in the field `text`, or with `chat` the messages in the field `messages`,
which the model's own template renders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from ..source import ModelSource
from ..tokenizer import Tokenizer
from .chat import ChatTemplate

__all__ = ["Tokens", "encode", "name_of"]

Tokens = NDArray[np.int32]


def name_of(text: str | Path) -> str:
    """What a text is called in a table: the file's name, or "text"."""
    return text.name if isinstance(text, Path) else "text"


def encode(source: ModelSource, text: str | Path, *, chat: bool = False) -> Tokens:
    """The tokens of a text, its documents one after the other.

    Each document starts and ends as the model wants a text to; the end of the last one
    is left out, for it is ours and not the text's.

    Args:
        source: the model, whose vocabulary is used.
        text: the text itself, or the Path of a UTF-8 file.
        chat: documents are conversations; text must be a *.jsonl file.

    Raises:
        FormatError: the file is not UTF-8, or a line is not what it must be.
        OptionError: `chat` without a *.jsonl file.
    """
    tokenizer = Tokenizer.from_metadata(source.metadata)
    is_jsonl = isinstance(text, Path) and text.suffix.lower() == ".jsonl"
    if chat:
        if not is_jsonl:
            raise OptionError(
                "--chat needs a .jsonl file with a list of messages on each line, "
                f"not {name_of(text)}"
            )
        template = ChatTemplate.of(source.metadata)
        documents = [
            _encode_chat(tokenizer, template.render(messages))
            for messages in _fields(text, "messages", list)
        ]
    elif is_jsonl:
        documents = [tokenizer.encode(part) for part in _fields(text, "text", str)]
    else:
        documents = [tokenizer.encode(_read(text))]
    if tokenizer.add_eos and not chat:
        documents[-1] = documents[-1][:-1]
    return np.concatenate(documents)


def _encode_chat(tokenizer: Tokenizer, text: str) -> Tokens:
    """A rendered conversation; templates write BOS themselves, or leave it to us."""
    tokens = tokenizer.encode(text, add_special=False, parse_special=True)
    if tokenizer.add_bos and tokens[:1] != [tokenizer.bos_id]:
        tokens = np.concatenate([[tokenizer.bos_id], tokens]).astype(np.int32)
    return tokens


def _read(text: str | Path) -> str:
    """The text; of a file, without one newline at its end, as llama.cpp reads it."""
    if isinstance(text, str):
        return text
    try:
        return text.read_bytes().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{text} is not UTF-8 text: {error}") from None


def _fields(path: str | Path, field: str, kind: type) -> list[Any]:
    """A field of the object on each line that is not empty."""
    values = [
        _field(line, f"{path}, line {number}", field, kind)
        for number, line in enumerate(_read(path).split("\n"), start=1)
        if line.strip()
    ]
    if not values:
        raise FormatError(f"{path} has no lines")
    return values


def _field(line: str, where: str, field: str, kind: type) -> Any:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise FormatError(f"{where} is not JSON: {error}") from None
    value = record.get(field) if isinstance(record, Mapping) else None
    if not isinstance(value, kind):
        hint = " (--chat reads messages)" if field == "text" else ""
        expected = "a text" if kind is str else "a list"
        raise FormatError(f"{where} has no {field!r} with {expected}{hint}")
    return value
