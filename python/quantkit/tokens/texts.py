"""Read and tokenize the text to measure: plain text, JSONL documents or conversations.

A text is one or more documents.  Plain text is one document.  A *.jsonl file has one on
each line: the string in the field `text`; or, with `chat`, the list in `messages`,
rendered with the model's chat template.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from ..files.inputs import read_stream, stream_lines
from ..gguf.source import ModelSource
from ..paths import as_path, listed
from .chat import ChatTemplate
from .hub_texts import text_path
from .tokenizer import Tokenizer

__all__ = [
    "TextLike",
    "Tokens",
    "as_text",
    "as_texts",
    "documents_of",
    "encode",
    "held",
    "name_of",
]

Tokens = NDArray[np.int32]

TextLike: TypeAlias = str | os.PathLike[str]
"""A str is the text itself; a Path or other path object is a file of UTF-8 text, or a
name of `hub_texts.text_path`."""


def as_texts(given: TextLike | Sequence[TextLike]) -> list[str | Path]:
    """Check one or several texts.

    Raises:
        OptionError: there are none, or one is not a text; see `as_text`.
    """
    texts = listed(given)
    if not texts:
        raise OptionError(
            "`text` is empty; expected a str, which is the text itself, or the "
            "pathlib.Path of a UTF-8 file, or several of them"
        )
    return [as_text(text) for text in texts]


def as_text(given: TextLike) -> str | Path:
    """Check a text.

    Raises:
        OptionError: it is neither a text nor a path, or is a str that is the name of a
            file, which was probably meant to be read.
        QuantkitError: it is on the Hub and cannot be downloaded.
    """
    if isinstance(given, os.PathLike):
        return text_path(as_path(given, "text"))
    if not isinstance(given, str):
        raise OptionError(
            f"`text` is of type {type(given).__name__}; expected a str, which is "
            "the text itself, or the pathlib.Path of a file"
        )
    if "\n" not in given and os.path.isfile(given):
        raise OptionError(
            f"`text` is {given!r}, the name of a file; to read the file, pass "
            f"Path({given!r}), because a str is the text itself"
        )
    return given


def name_of(text: str | Path) -> str:
    """The name of a text in tables: the file's name, or "text"."""
    return text.name if isinstance(text, Path) else "text"


def encode(
    source: ModelSource,
    text: str | Path,
    *,
    chat: bool = False,
    tokenizer: Tokenizer | None = None,
    at_most: int | None = None,
) -> Tokens:
    """Tokenize a text, its documents one after the other: int32 [n].

    Each document gets BOS and EOS as the model requires.  The EOS after the last
    document is dropped, because the text does not contain it.

    Args:
        source: the model, whose vocabulary is used.
        text: the text itself, or the Path of a UTF-8 file.
        chat: documents are conversations; `text` must be a *.jsonl file.
        tokenizer: the model's tokenizer, if it is already loaded.
        at_most: the maximum number of tokens; the rest of the text is not tokenized.

    Raises:
        FormatError: the file is not UTF-8, or a line of a *.jsonl file is malformed.
        OptionError: `chat` without a *.jsonl file.
    """
    tokenizer = tokenizer or Tokenizer.from_metadata(source.metadata)
    ids = array("i")
    with closing(_documents(source, text, chat, tokenizer)) as documents:
        for piece in chain.from_iterable(documents):
            ids.extend(piece)
            if at_most is not None and len(ids) > at_most:
                break
        else:
            if tokenizer.add_eos and not chat:
                ids.pop()
    return np.array(ids[:at_most], dtype=np.int32)


def _documents(
    source: ModelSource, text: str | Path, chat: bool, tokenizer: Tokenizer
) -> Generator[Iterator[list[int]], None, None]:
    """The tokens of each document, in pieces."""
    if chat:
        if not _is_jsonl(text):
            raise OptionError(
                "`chat=True` needs a .jsonl file with a list of messages on each line, "
                f"not {name_of(text)}"
            )
        with ChatTemplate.of(source.metadata).process() as template:
            for messages in _fields(Path(text), "messages", list):
                yield _chat_pieces(tokenizer, template.render(messages))
    else:
        yield from map(tokenizer.pieces, documents_of(text))


def documents_of(text: str | Path) -> Iterator[str]:
    """The documents of a text: one, or those of a *.jsonl file.

    Raises:
        FormatError: the file is not UTF-8, or a line of a *.jsonl file is malformed.
    """
    if _is_jsonl(text):
        yield from _fields(Path(text), "text", str)
    else:
        yield _read(text)


def held(text: str | Path) -> str | Path:
    """A text that can be read several times: what comes from a pipe is read at once.

    Raises:
        FormatError: it is not UTF-8.
    """
    is_stream = isinstance(text, Path) and not _is_jsonl(text) and text.is_fifo()
    return _read(text) if is_stream else text


def _is_jsonl(text: str | Path) -> bool:
    return isinstance(text, Path) and text.suffix.lower() == ".jsonl"


def _chat_pieces(tokenizer: Tokenizer, text: str) -> Iterator[list[int]]:
    """The tokens of a rendered conversation; add BOS unless the template wrote it."""
    tokens = tokenizer.encode(text, add_special=False, parse_special=True)
    bos = [tokenizer.bos_id] if tokenizer.bos_id is not None else []
    if tokenizer.add_bos and tokens[:1].tolist() != bos:
        yield bos
    yield tokens.tolist()


def _read(text: str | Path) -> str:
    """The text; one newline at the end of a file is dropped, as in llama.cpp."""
    if isinstance(text, str):
        return text
    try:
        return read_stream(text).decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{text} is not UTF-8 text: {error}") from None


def _fields(path: Path, field: str, kind: type) -> Iterator[Any]:
    """The value of `field` in the JSON object on each non-empty line."""
    is_empty = True
    for number, line in enumerate(stream_lines(path), start=1):
        if line.strip():
            is_empty = False
            yield _field(line, f"{path}, line {number}", field, kind)
    if is_empty:
        raise FormatError(f"{path} has no lines")


def _field(line: bytes, where: str, field: str, kind: type) -> Any:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} is not UTF-8 text: {error}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON: {error}") from None
    value = record.get(field) if isinstance(record, Mapping) else None
    if not isinstance(value, kind):
        hint = " (`chat=True` reads messages)" if field == "text" else ""
        expected = "a text" if kind is str else "a list"
        raise FormatError(f"{where} has no {field!r} with {expected}{hint}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{where} has half of a character: {error}") from None
    except RecursionError:
        raise FormatError(f"{where} is nested too deeply") from None
    return value
