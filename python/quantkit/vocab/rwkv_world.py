"""RWKV's vocabulary, "World": a line with number, bytes and length for each token.

Source: the fields that llama.cpp's converter writes for `rwkv` vocabularies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, FormatError
from ..gguf.keys import Field, ValueType, array, string, uint32
from ..tokens.token_type import TokenType
from .added import padding
from .files import TokenizerFiles
from .reading import read_text
from .special import special_fields

__all__ = ["FILE", "rwkv_fields"]

FILE = "rwkv_vocab_v20230424.txt"
SIZE = 65536
"""The number of tokens of models whose config does not tell it."""
LINE = re.compile(
    r"""\d+ (b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")) (\d{1,9})""", re.DOTALL
)
END = "<s>"
"""Token 0, which starts and ends texts; it is not in the file."""
ROLES = {"eot": 261, "bos": 0, "eos": 0}
"""A blank line ends a turn."""
TEMPLATE = "rwkv-world"
"""The name by which readers know the chat template, if a checkpoint has none."""


def rwkv_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The vocabulary of the file, padded to the model's `vocab_size`.

    Raises:
        CheckpointError: the file has more tokens than the model.
        FormatError: the file is damaged.
    """
    texts = [END, *map(_text_of, read_tokens(files.folder / FILE))]
    size, n_own = files.vocab_size or SIZE, len(texts)
    if n_own > size:
        raise CheckpointError(
            f"{files.folder / FILE} has {n_own - 1} tokens, and there is one more, but "
            f"config.json says vocab_size {size}; they belong to different models"
        )
    texts += [padding(i) for i in range(n_own, files.filled(size, n_own))]
    types = np.full(len(texts), TokenType.NORMAL, np.int32)
    types[0], types[n_own:] = TokenType.CONTROL, TokenType.UNUSED
    fields = {
        "tokenizer.ggml.model": string("rwkv"),
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.token_type": array(ValueType.INT32, types),
    }
    n_ids = max(len(texts), max(ROLES.values()) + 1)  # readers ignore those beyond
    fields |= special_fields(files, n_ids, defaults=lambda _: ROLES)
    for role in ("bos", "eos"):
        fields[f"tokenizer.ggml.{role}_token_id"] = uint32(ROLES[role])
    return {**fields, **_template(fields)}


def read_tokens(path: Path) -> Iterator[bytes]:
    """The tokens of a file, from id 1 on.

    Raises:
        FormatError: a line is not a number, a literal of Python and its length.
    """
    lines = read_text(path).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        token = None if match is None else _literal(match[1])
        if match is None or token is None or len(token) != int(match[2]):
            raise FormatError(
                f"{path}, line {number}: {line[:40]!r} is not a number, a token as "
                "Python writes it, and its length in bytes; download the file again"
            )
        yield token


def _literal(text: str) -> bytes | None:
    """The bytes of Python's literal of a text or of bytes; None: it is neither."""
    try:
        value: str | bytes = ast.literal_eval(text)
        return value.encode() if isinstance(value, str) else value
    except (SyntaxError, ValueError):  # also half of a character
        return None


def _text_of(token: bytes) -> str:
    """A token's bytes as Python writes them, without the quotes."""
    return repr(token)[2:-1]


def _template(fields: dict[str, Field]) -> dict[str, Field]:
    if any(key.startswith("tokenizer.chat_template") for key in fields):
        return {}
    return {"tokenizer.chat_template": string(TEMPLATE)}
