"""PLaMo's vocabulary from tokenizer.jsonl: a list for each token.

Source: the fields that llama.cpp's converter writes for `plamo2` vocabularies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, FormatError
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from ..settings import number
from ..tokens.token_type import TokenType
from .added import token_text
from .chat_templates import chat_template_fields
from .files import TokenizerFiles
from .kinds import UNICODE
from .reading import read_text

__all__ = ["FILE", "plamo_fields"]

FILE = "tokenizer.jsonl"
TYPES = {
    "UNKNOWN": TokenType.UNKNOWN,
    "CONTROL": TokenType.CONTROL,
    "BYTE": TokenType.BYTE,
}
MARKS = ("<|plamo:", "|>")
"""The start and the end of control tokens whose type the file does not tell."""
ROLES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "pad": "padding_token_id",
    "sep": "seperator_token_id",  # the format's own spelling
    "unk": "unknown_token_id",
}
END_OF_TURN = 4
PADDING_SCORE = -1000.0
SCORE = number(-3.4e38, 3.4e38)
Entry = tuple[str, float, TokenType]


def plamo_fields(files: TokenizerFiles, *, has_template: bool) -> dict[str, Field]:
    """The vocabulary of the file, padded to the model's `vocab_size`.

    Args:
        files: the tokenizer's files.
        has_template: whether the chat template is written.

    Raises:
        CheckpointError: a special token is not in the vocabulary.
        FormatError: the file is damaged.
    """
    entries = read_entries(files.folder / FILE)
    size, n_own = files.vocab_size or len(entries), len(entries)
    n_more = max(0, files.filled(size, n_own) - n_own)
    entries += [(f"[PAD{i}]", PADDING_SCORE, TokenType.UNUSED) for i in _from_1(n_more)]
    texts, scores, types = zip(*entries, strict=True)
    fields: dict[str, Any] = {
        "model": string("plamo2"),
        "pre": string("default"),
        "tokens": array(ValueType.STRING, list(texts)),
        "scores": array(ValueType.FLOAT32, np.array(scores, np.float32)),
        "token_type": array(ValueType.INT32, np.array(types, np.int32)),
        **_roles(files, {text: i for i, text in reversed([*enumerate(texts)])}),
        "eot_token_id": uint32(END_OF_TURN),
        "add_space_prefix": boolean(False),
    }
    for key in ("add_bos_token", "add_eos_token"):
        if files.settings.get(key) is not None:
            fields[key] = boolean(files.settings[key])
    named = {f"tokenizer.ggml.{key}": field for key, field in fields.items()}
    return named | (chat_template_fields(files) if has_template else {})


def read_entries(path: Path) -> list[Entry]:
    """Text, score and type of each token.

    Raises:
        FormatError: a line is not a list that starts with them, or there is none.
    """
    entries = [
        _entry(line, f"{path}, line {number}")
        for number, line in enumerate(read_text(path).split("\n"), 1)
        if line.strip()
    ]
    if not entries:
        raise FormatError(f"{path} has no tokens; download the file again")
    return entries


def _entry(line: str, where: str) -> Entry:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, list)
        or len(values) < 2
        or not UNICODE.accepts(values[0])
        or not SCORE.accepts(values[1])
        or not all(isinstance(kind, str) for kind in values[2:3])
    ):
        raise FormatError(
            f"{where}: {line[:40]!r} is not a list of a token, its score and its type; "
            "download the file again"
        )
    text, score, *rest = values
    return text, float(score), _type_of(text, *rest[:1])


def _type_of(text: str, kind: str = "NORMAL") -> TokenType:
    if kind not in TYPES and text.startswith(MARKS[0]) and text.endswith(MARKS[1]):
        return TokenType.CONTROL
    return TYPES.get(kind, TokenType.NORMAL)


def _roles(files: TokenizerFiles, ids: dict[str, int]) -> dict[str, Field]:
    """The special tokens that tokenizer_config.json names."""
    roles = {}
    for role, key in ROLES.items():
        text = token_text(files.settings.get(f"{role}_token"))
        if text is None:
            continue
        if text not in ids:
            raise CheckpointError(
                f"{files.folder}: tokenizer_config.json has the {role}_token "
                f"{text!r:.80}, which is not in {FILE}; they belong to different models"
            )
        roles[key] = uint32(ids[text])
    return roles


def _from_1(n: int) -> range:
    return range(1, n + 1)
